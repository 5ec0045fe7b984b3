// Draws curves and colours on canvases, in the colours of the page, as sharp as the screen is.

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Viridis at nine points; between them colours are mixed.
const VIRIDIS = ["440154", "472d7b", "3b528b", "2c728e", "21918c", "28ae80", "5ec962", "addc30", "fde725"].map((hex) =>
  [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);

export function viridis(share) {
  const place = Math.min(Math.max(share, 0), 1) * (VIRIDIS.length - 1);
  const low = Math.min(Math.floor(place), VIRIDIS.length - 2);
  const mixed = VIRIDIS[low].map((value, plane) => Math.round(value + (place - low) * (VIRIDIS[low + 1][plane] - value)));
  return `rgb(${mixed.join(" ")})`;
}

// The canvas at the screen's resolution; nothing where it is not shown.
export function prepared(canvas) {
  const { width, height } = canvas.getBoundingClientRect();
  if (!width || !height) return null;
  const ratio = window.devicePixelRatio || 1;
  const [wide, high] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== wide || canvas.height !== high) {
    canvas.width = wide;
    canvas.height = high;
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

// Lowest and highest value, the wildest half percent on each side aside.
export function range(values) {
  const known = values.filter((value) => value !== null && Number.isFinite(value)).sort((a, b) => a - b);
  if (!known.length) return [0, 1];
  const cut = Math.floor(known.length * 0.005);
  const [low, high] = [known[cut], known[known.length - 1 - cut]];
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function line(context, curve, across, up) {
  context.beginPath();
  let pen = false;
  curve.y.forEach((value, index) => {
    if (value === null) {
      pen = false;
      return;
    }
    context[pen ? "lineTo" : "moveTo"](across(curve.x[index]), up(value));
    pen = true;
  });
  context.lineJoin = "round";
  context.stroke();
}

export function sparkline(canvas, curve) {
  const place = prepared(canvas);
  if (!place || !curve) return;
  const { context, width, height } = place;
  const [low, high] = range(curve.y);
  const [first, last] = [curve.x[0], curve.x[curve.x.length - 1]];
  context.strokeStyle = style("--curve");
  context.lineWidth = 1.1;
  line(
    context,
    curve,
    (x) => 4 + ((x - first) / (last - first)) * (width - 8),
    (y) => height - 3 - ((y - low) / (high - low)) * (height - 6),
  );
}

function ticks(low, high, most) {
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].find((factor) => factor * power >= rough) * power;
  const digits = Math.max(0, -Math.floor(Math.log10(step) + 1e-9));
  const found = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step) {
    found.push([value, value.toFixed(Math.min(digits, 8))]);
  }
  return found;
}

// A curve with axes, their names and units.
export function plot(canvas, curve) {
  const place = prepared(canvas);
  if (!place || !curve) return;
  const { context, width, height } = place;
  const [left, right, top, bottom] = [52, 10, 8, 40];
  let [low, high] = range(curve.y);
  const spread = (high - low) * 0.06;
  [low, high] = [low - spread, high + spread];
  const [first, last] = [curve.x[0], curve.x[curve.x.length - 1]];
  const across = (x) => left + ((x - first) / (last - first)) * (width - left - right);
  const up = (y) => height - bottom - ((y - low) / (high - low)) * (height - top - bottom);
  context.font = `12px ${getComputedStyle(document.body).fontFamily}`;
  context.fillStyle = style("--soft");
  context.strokeStyle = style("--line");
  context.lineWidth = 1;
  context.textAlign = "center";
  for (const [value, text] of ticks(first, last, width / 90)) {
    context.fillText(text, across(value), height - bottom + 16);
    context.beginPath();
    context.moveTo(across(value), top);
    context.lineTo(across(value), height - bottom);
    context.stroke();
  }
  context.textAlign = "right";
  for (const [value, text] of ticks(low, high, height / 45)) {
    context.fillText(text, left - 6, up(value) + 4);
    context.beginPath();
    context.moveTo(left, up(value));
    context.lineTo(width - right, up(value));
    context.stroke();
  }
  context.textAlign = "center";
  context.fillText(curve.x_label, (left + width - right) / 2, height - 6);
  context.save();
  context.translate(12, (top + height - bottom) / 2);
  context.rotate(-Math.PI / 2);
  context.fillText(curve.y_label, 0, 0);
  context.restore();
  context.save();
  context.beginPath();
  context.rect(left, top, width - left - right, height - top - bottom);
  context.clip();
  context.strokeStyle = style("--curve");
  context.lineWidth = 1.2;
  line(context, curve, across, up);
  context.restore();
}

export { style };
