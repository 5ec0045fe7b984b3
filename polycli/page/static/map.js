// The map: all objects as points, which are moved, zoomed, coloured, taken by a click, and drawn around with a lasso.

import { prepared, range, style, viridis } from "/static/draw.js";

const BINS = 24;
// While the map is moved, no more points than this are drawn.
const QUICK = 60000;
const NEAR_PIXELS = 12;

export class PointMap {
  constructor(canvas, points, told) {
    this.canvas = canvas;
    this.points = points.slice();
    this.count = points.length / 2;
    this.#fill();
    this.told = told; // { pick(row), hover(row or null, x, y), lassoed(rows) }
    this.values = null;
    this.bins = null;
    this.found = [];
    this.query = null;
    this.selected = new Set();
    this.isLasso = false;
    this.path = null;
    this.cross = false;
    this.extent = this.#extent();
    this.#fit();
    this.#listen();
    new ResizeObserver(() => this.draw()).observe(canvas);
  }

  colour(values) {
    this.values = values;
    const [low, high] = values ? range(Array.from(sample(values, 20000))) : [0, 1];
    this.scale = [low, high];
    this.bins = new Uint8Array(this.count);
    if (values) {
      for (let row = 0; row < this.count; row++) {
        const value = values[row];
        const share = (value - low) / (high - low);
        this.bins[row] = Number.isFinite(value) ? 1 + Math.min(BINS - 1, Math.max(0, Math.floor(share * BINS))) : 0;
      }
    }
    this.draw();
  }

  highlight(query, found) {
    this.query = query;
    this.found = found;
    this.draw();
  }

  select(rows) {
    this.selected = new Set(rows);
    this.draw();
  }

  zoom(factor, x = null, y = null) {
    const { width, height } = this.canvas.getBoundingClientRect();
    const [px, py] = [x ?? width / 2, y ?? height / 2];
    const before = this.#data(px, py);
    this.view.scale = Math.min(Math.max(this.view.scale * factor, 0.5), 5000);
    const after = this.#data(px, py);
    this.view.x += before[0] - after[0];
    this.view.y += before[1] - after[1];
    this.draw();
  }

  move(right, down) {
    const unit = this.#unit();
    this.view.x += right / unit;
    this.view.y -= down / unit;
    this.draw();
  }

  reset() {
    this.#fit();
    this.draw();
  }

  setLasso(on) {
    this.isLasso = on;
    this.path = null;
    this.draw();
  }

  draw() {
    cancelAnimationFrame(this.frame);
    this.frame = requestAnimationFrame(() => this.#paint());
  }

  #extent() {
    let [left, right, low, high] = [Infinity, -Infinity, Infinity, -Infinity];
    for (let at = 0; at < this.points.length; at += 2) {
      left = Math.min(left, this.points[at]);
      right = Math.max(right, this.points[at]);
      low = Math.min(low, this.points[at + 1]);
      high = Math.max(high, this.points[at + 1]);
    }
    return { x: (left + right) / 2, y: (low + high) / 2, width: right - left, height: high - low, size: Math.max(right - left, high - low) || 1 };
  }

  // A flat map, as of components of different size, is stretched to at most twice its height, so that it can be seen.
  #fill() {
    const { width, height } = this.#extent();
    const factor = Math.min(2, Math.max(0.5, width / (height || width || 1)));
    for (let at = 1; at < this.points.length; at += 2) this.points[at] *= factor;
  }

  #fit() {
    this.view = { x: this.extent.x, y: this.extent.y, scale: 1 };
  }

  #unit() {
    const { width, height } = this.canvas.getBoundingClientRect();
    return ((Math.min(width, height) * 0.92) / this.extent.size) * this.view.scale;
  }

  #screen(row, unit, width, height) {
    return [
      width / 2 + (this.points[2 * row] - this.view.x) * unit,
      height / 2 - (this.points[2 * row + 1] - this.view.y) * unit,
    ];
  }

  #data(x, y) {
    const { width, height } = this.canvas.getBoundingClientRect();
    const unit = this.#unit();
    return [this.view.x + (x - width / 2) / unit, this.view.y - (y - height / 2) / unit];
  }

  #paint() {
    const place = prepared(this.canvas);
    if (!place) return;
    const { context, width, height } = place;
    const unit = this.#unit();
    const radius = Math.min(4, Math.max(1.1, (9 / Math.sqrt(this.count / 60)) * Math.sqrt(this.view.scale)));
    const size = 2 * radius;
    const step = this.isMoving ? Math.max(1, Math.ceil(this.count / QUICK)) : 1;
    const faded = this.selected.size > 0;
    context.globalAlpha = faded ? 0.22 : this.count > 5000 ? 0.65 : 0.85;
    // Points of one colour together: changing the colour is what takes time.
    for (let bin = 0; bin <= BINS; bin++) {
      if (!this.values && bin) break;
      context.fillStyle = this.values ? (bin ? viridis((bin - 0.5) / BINS) : style("--line")) : style("--accent");
      for (let row = 0; row < this.count; row += step) {
        if (this.values && this.bins[row] !== bin) continue;
        const [x, y] = this.#screen(row, unit, width, height);
        if (x < -4 || y < -4 || x > width + 4 || y > height + 4) continue;
        context.fillRect(x - radius, y - radius, size, size);
      }
    }
    context.globalAlpha = 1;
    context.fillStyle = style("--mark");
    for (const row of this.selected) {
      const [x, y] = this.#screen(row, unit, width, height);
      context.fillRect(x - radius, y - radius, size, size);
    }
    context.lineWidth = 2;
    context.strokeStyle = style("--mark");
    for (const row of this.found) this.#ring(context, row, unit, width, height, Math.max(4.5, radius + 2));
    if (this.query !== null) {
      const [x, y] = this.#screen(this.query, unit, width, height);
      context.strokeStyle = style("--ink");
      context.lineWidth = 2.5;
      for (const [a, b] of [[1, 0], [0, 1]]) {
        context.beginPath();
        context.moveTo(x - 10 * a, y - 10 * b);
        context.lineTo(x + 10 * a, y + 10 * b);
        context.stroke();
      }
    }
    if (this.path) this.#paintPath(context);
    if (this.cross) this.#paintCross(context, width, height);
  }

  #ring(context, row, unit, width, height, radius) {
    const [x, y] = this.#screen(row, unit, width, height);
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.stroke();
  }

  #paintPath(context) {
    context.strokeStyle = style("--mark");
    context.fillStyle = style("--mark");
    context.beginPath();
    this.path.forEach(([x, y], at) => context[at ? "lineTo" : "moveTo"](x, y));
    context.closePath();
    context.globalAlpha = 0.12;
    context.fill();
    context.globalAlpha = 1;
    context.stroke();
  }

  #paintCross(context, width, height) {
    context.strokeStyle = style("--soft");
    context.lineWidth = 1;
    context.beginPath();
    context.arc(width / 2, height / 2, NEAR_PIXELS, 0, 2 * Math.PI);
    context.moveTo(width / 2 - 4, height / 2);
    context.lineTo(width / 2 + 4, height / 2);
    context.moveTo(width / 2, height / 2 - 4);
    context.lineTo(width / 2, height / 2 + 4);
    context.stroke();
  }

  nearest(x, y, most = NEAR_PIXELS) {
    const { width, height } = this.canvas.getBoundingClientRect();
    const unit = this.#unit();
    let [best, distance] = [null, most * most];
    for (let row = 0; row < this.count; row++) {
      const [px, py] = this.#screen(row, unit, width, height);
      const away = (px - x) ** 2 + (py - y) ** 2;
      if (away < distance) [best, distance] = [row, away];
    }
    return best;
  }

  inside(path) {
    const corners = path.map(([x, y]) => this.#data(x, y));
    const rows = [];
    for (let row = 0; row < this.count; row++) {
      const [x, y] = [this.points[2 * row], this.points[2 * row + 1]];
      let within = false;
      for (let at = 0, before = corners.length - 1; at < corners.length; before = at++) {
        const [ax, ay] = corners[at];
        const [bx, by] = corners[before];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) within = !within;
      }
      if (within) rows.push(row);
    }
    return rows;
  }

  #listen() {
    const { canvas } = this;
    const at = (event) => {
      const box = canvas.getBoundingClientRect();
      return [event.clientX - box.left, event.clientY - box.top];
    };
    const fingers = new Map();
    let start = null;
    canvas.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      canvas.setPointerCapture(event.pointerId);
      fingers.set(event.pointerId, at(event));
      start = { from: at(event), last: at(event), moved: false };
      if (this.isLasso || event.shiftKey) this.path = [at(event)];
    });
    canvas.addEventListener("pointermove", (event) => {
      const [x, y] = at(event);
      if (!fingers.has(event.pointerId)) {
        const row = this.nearest(x, y, 8);
        this.told.hover(row, x, y);
        return;
      }
      if (fingers.size === 2) {
        const [one, other] = [...fingers.entries()].map(([id, place]) => (id === event.pointerId ? [x, y] : place));
        const [a, b] = [...fingers.values()];
        const factor = Math.hypot(one[0] - other[0], one[1] - other[1]) / (Math.hypot(a[0] - b[0], a[1] - b[1]) || 1);
        fingers.set(event.pointerId, [x, y]);
        this.path = null;
        this.zoom(factor, (one[0] + other[0]) / 2, (one[1] + other[1]) / 2);
        start.moved = true;
        return;
      }
      fingers.set(event.pointerId, [x, y]);
      if (Math.hypot(x - start.from[0], y - start.from[1]) > 4) start.moved = true;
      if (this.path) this.path.push([x, y]);
      else if (start.moved) {
        this.isMoving = true;
        this.move(start.last[0] - x, start.last[1] - y);
      }
      start.last = [x, y];
      this.told.hover(null);
      this.draw();
    });
    const ended = (event) => {
      fingers.delete(event.pointerId);
      this.isMoving = false;
      const path = this.path;
      this.path = null;
      if (path && path.length > 2 && start.moved) this.told.lassoed(this.inside(path));
      else if (start && !start.moved && event.type === "pointerup") {
        const row = this.nearest(...at(event));
        if (row !== null) this.told.pick(row);
      }
      this.draw();
    };
    canvas.addEventListener("pointerup", ended);
    canvas.addEventListener("pointercancel", ended);
    canvas.addEventListener("pointerleave", () => this.told.hover(null));
    canvas.addEventListener(
      "wheel",
      (event) => {
        event.preventDefault();
        this.zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : 0.0016)), ...at(event));
      },
      { passive: false },
    );
    canvas.addEventListener("focus", () => {
      this.cross = canvas.matches(":focus-visible");
      this.draw();
    });
    canvas.addEventListener("blur", () => {
      this.cross = false;
      this.draw();
    });
    canvas.addEventListener("keydown", (event) => this.#key(event));
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const { width, height } = this.canvas.getBoundingClientRect();
    const moves = { ArrowLeft: [-40, 0], ArrowRight: [40, 0], ArrowUp: [0, -40], ArrowDown: [0, 40] };
    if (moves[event.key]) this.move(...moves[event.key]);
    else if (event.key === "+" || event.key === "=") this.zoom(1.4);
    else if (event.key === "-") this.zoom(1 / 1.4);
    else if (event.key === "0") this.reset();
    else if (event.key === "Enter") {
      const row = this.nearest(width / 2, height / 2, Infinity);
      if (row !== null) this.told.pick(row);
    } else return;
    this.cross = true;
    event.preventDefault();
    event.stopPropagation();
  }
}

function sample(values, most) {
  const step = Math.max(1, Math.floor(values.length / most));
  return step === 1 ? values : values.filter((_, index) => index % step === 0);
}
