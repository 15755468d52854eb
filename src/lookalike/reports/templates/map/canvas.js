// Draws points into the pixels of a canvas and moves over them: pan, zoom, hover, lasso and box, by pointer and by keys.

import { boxPick, lassoPick } from "./points.js";

const MARGIN = 0.9; // of the stage that the whole map takes
const MOST_ZOOM = 400;
const CLICK = 5; // CSS pixels that a click may move
const REACH = 14; // CSS pixels from a point that still mean it
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class MapCanvas {
  constructor(stage, canvas, outline, { onMove, onHover, onPick }) {
    Object.assign(this, { stage, canvas, outline, onMove, onHover, onPick, points: null, colors: null, selected: null });
    Object.assign(this, { mode: "move", x: 0.5, y: 0.5, zoom: 1, hovered: -1, pointers: new Map(), line: null });
    this.context = canvas.getContext("2d", { alpha: false });
    new ResizeObserver(() => this.#resize()).observe(stage);
    this.#listen();
  }

  // Show other points, other colors or another selection (a Uint8Array of n, or null).
  set(changes) {
    Object.assign(this, changes);
    this.draw();
  }

  look(x, y, zoom) {
    this.zoom = Math.max(0.5, Math.min(MOST_ZOOM, zoom));
    this.x = Math.max(-0.2, Math.min(1.2, x));
    this.y = Math.max(-0.2, Math.min(1.2, y));
    this.draw();
  }

  zoomBy(factor, [px, py] = [this.width / 2, this.height / 2]) {
    const [mx, my] = this.placeOf(px, py), zoom = Math.max(0.5, Math.min(MOST_ZOOM, this.zoom * factor)), unit = this.#unit(zoom);
    this.look(mx - (px - this.width / 2) / unit, my - (py - this.height / 2) / unit, zoom);
  }

  // CSS pixels of a place on the map, and the other way round.
  pixelOf(x, y) {
    const unit = this.#unit();
    return [(x - this.x) * unit + this.width / 2, (y - this.y) * unit + this.height / 2];
  }

  placeOf(px, py) {
    const unit = this.#unit();
    return [(px - this.width / 2) / unit + this.x, (py - this.height / 2) / unit + this.y];
  }

  get view() {
    return [...this.placeOf(0, 0), ...this.placeOf(this.width, this.height)];
  }

  #unit(zoom = this.zoom) {
    return Math.min(this.width, this.height) * MARGIN * zoom;
  }

  #resize() {
    this.width = this.stage.clientWidth;
    this.height = this.stage.clientHeight;
    if (!this.width || !this.height) return;
    this.ratio = Math.min(2, devicePixelRatio || 1);
    this.canvas.width = Math.round(this.width * this.ratio);
    this.canvas.height = Math.round(this.height * this.ratio);
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    this.pixels = new Uint32Array(this.image.data.buffer);
    this.draw();
  }

  // Draw once before the next frame, however often it is asked for.
  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = undefined;
      this.paint();
    });
  }

  paint() {
    if (!this.image || !this.points || !this.colors) return;
    const { full, dimmed, edge, background } = this.colors;
    this.pixels.fill(background);
    const stamp = stampOf(this.radius * this.ratio);
    if (this.selected) {
      this.#paintAll(stamp, dimmed, dimmed, 0);
      this.#paintAll(stamp, full, edge, 1);
    } else this.#paintAll(stamp, full, edge, -1);
    this.context.putImageData(this.image, 0, 0);
    this.onMove();
  }

  // CSS pixels; few points are larger than many, and all grow a little with the zoom.
  get radius() {
    const base = Math.max(1.5, Math.min(6, 110 / Math.sqrt(this.points.n)));
    return Math.min(9, base * Math.max(1, this.zoom) ** 0.3);
  }

  // Points that are selected (1), not (0), or all (-1).
  #paintAll(stamp, fills, edges, which) {
    const { points, selected, pixels } = this, { x, y, n, passing } = points, { of } = this.colors, { width, height } = this.canvas;
    const { dx, dy, alpha, isEdge, reach } = stamp, length = dx.length;
    const unit = this.#unit() * this.ratio, left = width / 2 - this.x * unit, top = height / 2 - this.y * unit;
    const offset = dx.map((each, i) => each + dy[i] * width);
    for (let i = 0; i < n; i++) {
      if ((passing && !passing[i]) || (which >= 0 && selected[i] !== which)) continue;
      const px = (x[i] * unit + left + 0.5) | 0, py = (y[i] * unit + top + 0.5) | 0;
      if (px < -reach || py < -reach || px >= width + reach || py >= height + reach) continue;
      const fill = fills[of[i]], rim = edges[of[i]], at = px + py * width;
      const isWhole = px >= reach && py >= reach && px < width - reach && py < height - reach;
      for (let j = 0; j < length; j++) {
        if (!isWhole && (px + dx[j] < 0 || px + dx[j] >= width || py + dy[j] < 0 || py + dy[j] >= height)) continue;
        const color = isEdge[j] ? rim : fill, a = alpha[j], to = at + offset[j];
        pixels[to] = a === 255 ? color : blended(pixels[to], color, a);
      }
    }
  }

  // --- pointers and keys ------------------------------------------------------------------------

  #listen() {
    const { stage } = this;
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(Math.exp(-Math.max(-120, Math.min(120, event.deltaY * (event.deltaMode ? 30 : 1))) / 400), this.#at(event));
    }, { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#press(event));
    stage.addEventListener("pointermove", (event) => this.#drag(event));
    stage.addEventListener("pointerup", (event) => this.#release(event));
    stage.addEventListener("pointercancel", (event) => this.#forget(event));
    stage.addEventListener("pointerleave", (event) => event.pointerType !== "touch" && this.hover(-1));
    stage.addEventListener("keydown", (event) => this.#key(event));
  }

  #at(event) {
    const area = this.stage.getBoundingClientRect();
    return [event.clientX - area.left - this.stage.clientLeft, event.clientY - area.top - this.stage.clientTop];
  }

  #press(event) {
    if (event.button) return;
    this.stage.setPointerCapture(event.pointerId);
    const at = this.#at(event);
    this.pointers.set(event.pointerId, at);
    this.moved = this.pointers.size > 1;
    this.start = at;
    this.label = event.target.closest?.("[data-pick]")?.dataset.pick;
    this.shape = this.mode !== "move" ? this.mode : event.shiftKey ? "box" : "";
    this.line = this.shape && this.pointers.size === 1 ? [at] : null;
  }

  #drag(event) {
    const before = this.pointers.get(event.pointerId), at = this.#at(event);
    if (!before) return this.hover(this.points?.nearest(...this.placeOf(...at), REACH / this.#unit()) ?? -1);
    if (Math.hypot(at[0] - this.start[0], at[1] - this.start[1]) > CLICK) this.moved = true;
    this.pointers.set(event.pointerId, at);
    if (!this.moved) return;
    this.hover(-1);
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, each]) => each);
    if (others.length) {
      const far = ([x, y]) => Math.hypot(x - others[0][0], y - others[0][1]) || 1;
      this.line = null;
      this.#outlined();
      this.zoomBy(far(at) / far(before), [(at[0] + others[0][0]) / 2, (at[1] + others[0][1]) / 2]);
    } else if (this.line) {
      this.line.push(at);
      this.#outlined();
      return;
    }
    const half = others.length ? 2 : 1, unit = this.#unit() * half;
    if (!this.shape || others.length) this.look(this.x - (at[0] - before[0]) / unit, this.y - (at[1] - before[1]) / unit, this.zoom);
  }

  #release(event) {
    if (!this.pointers.has(event.pointerId)) return;
    const { line } = this, at = this.#at(event);
    this.#forget(event);
    if (!this.moved) {
      if (this.label) return this.onPick(this.label);
      const row = this.points?.nearest(...this.placeOf(...at), REACH / this.#unit()) ?? -1;
      return this.onPick(row < 0 ? "" : `picture:${this.points.id(row)}`);
    }
    if (!line || line.length < 2) return;
    const corners = line.map((each) => this.placeOf(...each)), [a, b] = [corners[0], corners.at(-1)];
    this.onPick(this.shape === "box" ? boxPick(Math.min(a[0], b[0]), Math.min(a[1], b[1]), Math.max(a[0], b[0]), Math.max(a[1], b[1])) : lassoPick(corners));
  }

  #forget(event) {
    this.pointers.delete(event.pointerId);
    this.line = null;
    this.#outlined();
  }

  // What is being drawn, in CSS pixels.
  #outlined() {
    const corners = this.line ?? [], [a, b] = [corners[0], corners.at(-1)];
    const shown = this.shape === "box" && a ? [a, [b[0], a[1]], b, [a[0], b[1]]] : corners;
    this.outline.setAttribute("points", shown.map((each) => each.join(",")).join(" "));
  }

  hover(row) {
    if (row === this.hovered) return;
    this.hovered = row;
    this.onHover(row);
  }

  #key(event) {
    if (event.target !== this.stage || event.ctrlKey || event.metaKey || event.altKey || !this.points) return;
    const direction = ARROWS[event.key];
    if (direction && event.shiftKey) this.#step(direction);
    else if (direction) this.look(this.x + (0.12 * direction[0]) / this.zoom, this.y + (0.12 * direction[1]) / this.zoom, this.zoom);
    else if (event.key === "+" || event.key === "=") this.zoomBy(1.4);
    else if (event.key === "-") this.zoomBy(1 / 1.4);
    else if (event.key === "0") this.look(0.5, 0.5, 1);
    else if (event.key === "Enter" && this.hovered >= 0) this.onPick(`picture:${this.points.id(this.hovered)}`);
    else if (event.key === "Escape") this.onPick("");
    else return;
    event.preventDefault();
  }

  // Go to the next point in a direction; from nowhere, to the one in the middle.
  #step(direction) {
    const row = this.hovered < 0 ? this.points.nearest(this.x, this.y, Infinity) : this.points.next(this.hovered, direction);
    if (row < 0) return;
    const [px, py] = this.pixelOf(this.points.x[row], this.points.y[row]);
    if (px < 20 || py < 20 || px > this.width - 20 || py > this.height - 20) this.look(this.points.x[row], this.points.y[row], this.zoom);
    this.hover(row);
  }
}

// The pixels of a disc, with its rim where there is room for one, and how much of each it covers.
function stampOf(radius) {
  const reach = Math.ceil(radius), dx = [], dy = [], alpha = [], isEdge = [];
  for (let y = -reach; y <= reach; y++) for (let x = -reach; x <= reach; x++) {
    const distance = Math.hypot(x, y), covered = Math.max(0, Math.min(1, radius - distance + 0.5));
    if (covered < 0.08) continue;
    dx.push(x);
    dy.push(y);
    alpha.push(covered > 0.95 ? 255 : Math.round(covered * 255));
    isEdge.push(radius >= 2.5 && distance > radius - 1 ? 1 : 0);
  }
  return { dx: Int32Array.from(dx), dy: Int32Array.from(dy), alpha: Uint8Array.from(alpha), isEdge: Uint8Array.from(isEdge), reach };
}

// Red and blue together, green alone: two products instead of three.
function blended(below, above, a) {
  const b = 255 - a;
  const odd = ((((above & 0xff00ff) * a + (below & 0xff00ff) * b) >>> 8) & 0xff00ff) >>> 0;
  const even = (((((above >>> 8) & 0xff) * a + ((below >>> 8) & 0xff) * b) >>> 8) << 8) >>> 0;
  return (0xff000000 | odd | even) >>> 0;
}
