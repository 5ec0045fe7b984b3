// Builds what shows objects: cards of neighbours, the object that was asked for, and all there is to know of one.

import { curves, droppedCurve, droppedImage, imageAddress } from "/static/api.js";
import { plot, sparkline } from "/static/draw.js";
import { byId, element, shown } from "/static/format.js";

// The curves that are on the page, by canvas, to be drawn again when the page changes its shape or colours.
const drawn = new Map();
let observer = null;

function spark(curve, label) {
  const canvas = element("canvas", { class: "spark", role: "img", "aria-label": label });
  observer ??= new ResizeObserver((entries) => entries.forEach(({ target }) => sparkline(target, drawn.get(target))));
  drawn.set(canvas, curve);
  observer.observe(canvas);
  return canvas;
}

export function redraw() {
  for (const [canvas, curve] of drawn) {
    if (canvas.isConnected) (canvas.classList.contains("plot") ? plot : sparkline)(canvas, curve);
    else {
      observer?.unobserve(canvas);
      drawn.delete(canvas);
    }
  }
}

function picture(address, label, onclick) {
  const image = element("img", { src: address, alt: label, loading: "lazy", width: 152, height: 152 });
  const button = element("button", { type: "button", class: "picture", title: onclick ? "Details" : label, tabindex: "-1", onclick }, image);
  image.addEventListener("error", () => button.replaceChildren(element("span", { class: "none" }, "no image")));
  return button;
}

function values(object, names) {
  const list = element("dl", { class: "values" });
  for (const name of names) {
    list.append(element("dt", { title: name }, name), element("dd", { title: String(object.columns[name] ?? "") }, shown(object.columns[name])));
  }
  return list;
}

function markButton(object, mark, page) {
  const label = mark === "good" ? "Good" : "Bad";
  return element(
    "button",
    {
      type: "button",
      class: `mark-${mark}`,
      "aria-pressed": String(page.markOf(object.row) === mark),
      title: mark === "good" ? "More like this (g)" : "Less like this (b)",
      onclick: () => page.mark(object, mark),
    },
    label,
  );
}

export function card(object, place, page) {
  const made = element("li", { class: `card ${page.markOf(object.row)}`, tabindex: place === 0 ? "0" : "-1", "aria-label": `${place + 1}: ${object.id}` });
  made.dataset.row = object.row;
  const details = () => page.details(object);
  if (page.about.images) made.append(picture(imageAddress(object.row, 320), `Image of ${object.id}`, details));
  made.append(
    element(
      "div",
      { class: "facts" },
      element("span", { class: "rank" }, String(place + 1)),
      object.similarity === undefined ? null : element("span", { class: "similarity", title: "Cosine similarity" }, object.similarity.toFixed(4)),
      element("span", { class: "id", title: object.id }, object.id),
    ),
    values(object, page.shownColumns()),
    element(
      "div",
      { class: "actions" },
      markButton(object, "good", page),
      markButton(object, "bad", page),
      element("button", { type: "button", title: "Search from this one (s)", onclick: () => page.searchFrom(object) }, "Search"),
    ),
  );
  return made;
}

// Adds curves to cards once the cards are there: one request for all of them.
export async function addCurves(cards, page) {
  if (!page.about.curves) return;
  const found = await curves(cards.map((made) => made.dataset.row));
  for (const made of cards) {
    const curve = found[made.dataset.row];
    if (!curve || !made.isConnected) continue;
    const canvas = spark(curve, `Spectrum of ${made.querySelector(".id").title}`);
    canvas.addEventListener("click", () => made.dispatchEvent(new CustomEvent("details", { bubbles: true })));
    made.querySelector(".facts").before(canvas);
  }
}

export async function asked(query, page) {
  const box = byId("asked");
  const body = element("div", { class: "body" });
  const title = query.name ?? query.id;
  const marks = query.good || query.bad ? `moved by ${query.good ?? 0} good and ${query.bad ?? 0} bad examples` : null;
  if (title === undefined) {
    box.replaceChildren(element("div", { class: "body" }, element("h2", {}, "Marked examples"), element("p", { class: "soft" }, marks)));
    box.hidden = false;
    return;
  }
  const away = query.separation_arcsec;
  const notes = [
    query.upload ? (query.object === "file" ? "dropped file" : `dropped file, object ${query.object}`) : null,
    away === undefined ? null : `${shown(away)} arcsec from ${query.position.map(shown).join(", ")}`,
    marks,
  ].filter(Boolean);
  body.append(element("h2", {}, title));
  if (notes.length) body.append(element("p", { class: "soft" }, notes.join("; ")));
  const parts = [];
  const hasImage = query.upload ? query.image : page.about.images;
  const address = query.upload ? droppedImage(query.upload, 320) : imageAddress(query.row, 320);
  if (hasImage) parts.push(picture(address, `Image of ${title}`, query.upload ? null : () => page.details(query)));
  if (query.columns) body.append(values(query, page.shownColumns()));
  box.classList.toggle("bare", !hasImage);
  box.replaceChildren(...parts, body);
  box.hidden = false;
  const curve = query.upload ? query.curve && (await droppedCurve(query.upload)) : page.about.curves ? (await curves([query.row]))[query.row] : null;
  if (curve && body.isConnected) body.append(spark(curve, `Spectrum of ${title}`));
}

export async function details(object, page) {
  const dialog = byId("details");
  byId("details-title").textContent = object.id;
  const body = byId("details-body");
  const side = element("div", { className: "row" });
  const names = Object.keys(object.columns);
  const all = element("dl", { class: "all whole" });
  for (const name of names) all.append(element("div", {}, element("dt", {}, name), element("dd", {}, shown(object.columns[name]))));
  const actions = element(
    "div",
    { class: "row whole" },
    element("button", { type: "button", class: "primary", onclick: () => { dialog.close(); page.searchFrom(object); } }, "Search from this one"),
    markButton(object, "good", page),
    markButton(object, "bad", page),
  );
  const { ra, dec } = object.columns;
  if (page.about.images && typeof ra === "number" && typeof dec === "number") {
    const address = `https://www.legacysurvey.org/viewer?ra=${ra}&dec=${dec}&zoom=16&layer=ls-dr10`;
    actions.append(element("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, "Legacy Survey viewer (leaves this page)"));
  }
  actions.addEventListener("click", (event) => {
    const button = event.target.closest("[aria-pressed]");
    if (button) for (const mark of ["good", "bad"]) actions.querySelector(`.mark-${mark}`).setAttribute("aria-pressed", String(page.markOf(object.row) === mark));
  });
  if (page.about.images) side.append(picture(imageAddress(object.row, 512), `Image of ${object.id}`));
  body.classList.toggle("with-image", page.about.images);
  body.replaceChildren(...(page.about.images ? [side] : []), actions, all);
  dialog.showModal();
  const curve = page.about.curves ? (await curves([object.row]))[object.row] : null;
  if (!curve || !dialog.open) return;
  const canvas = element("canvas", { class: "plot", role: "img", "aria-label": `Spectrum of ${object.id}` });
  drawn.set(canvas, curve);
  if (page.about.images) side.after(canvas);
  else body.prepend(canvas);
  plot(canvas, curve);
}
