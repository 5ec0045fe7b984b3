// Writes values as people read them, and makes elements without any text becoming markup.

export function shown(value) {
  if (value === null || value === undefined || value === "") return "\u2013";
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-4) return value.toExponential(2);
  return String(Number(value.toPrecision(size >= 1000 ? 6 : 4)));
}

export const counted = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;

// element("button", {class: "primary", onclick: f}, "text", other elements)
export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key in made && typeof value !== "string") made[key] = value;
    else made.setAttribute(key === "className" ? "class" : key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export const byId = (name) => document.getElementById(name);

// "150.1 2.2", "150.1, 2.2", "10:00:24.1 +02:12:36" and "10h00m24.1s +2d12m36s" in degrees; nothing for all else.
export function position(text) {
  const parts = text.trim().replace(/[,;]/g, " ").split(/\s+/);
  if (parts.length !== 2) return null;
  const ra = angle(parts[0], /[h:]/.test(parts[0]) ? 15 : 1);
  const dec = angle(parts[1], 1);
  return ra === null || dec === null || Math.abs(dec) > 90 || Math.abs(ra) > 360 ? null : [ra, dec];
}

function angle(text, factor) {
  if (/^[+-]?\d+(\.\d*)?$|^[+-]?\.\d+$/.test(text)) return Number(text);
  const found = /^([+-]?)(\d{1,3})[:hd\u00b0](\d{1,2})(?:[:m'](\d{1,2}(?:\.\d*)?)?[s"]?)?$/.exec(text);
  if (!found) return null;
  const size = Number(found[2]) + Number(found[3]) / 60 + Number(found[4] ?? 0) / 3600;
  return (found[1] === "-" ? -1 : 1) * size * factor;
}
