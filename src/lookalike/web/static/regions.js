// Boxes and polygons on the query: drawn by pointer or keys, several on one photograph, one of them active.

import { button, byId, element } from "./dom.js";

const MIN_DRAG = 6; // smallest side of a box in screen pixels; anything smaller is a click
const STEP = 0.04; // by which an arrow key moves, in parts of the picture
const FIRST_BOX = [0.25, 0.25, 0.75, 0.75];
const HINT = "Drag on the picture to search by a region.";
const POLYGON_HINT = "Click the corners; Enter or a double click closes the polygon, Escape gives it up. By keys: arrows and Space.";
const inside = (value, low = 0, high = 1) => Math.max(low, Math.min(high, value));

export class Regions {
  constructor({ onSearch }) {
    this.onSearch = onSearch;
    Object.assign(this, { list: [], active: -1, size: null, box: null, corners: null, cursor: [0.5, 0.5] });
    this.frame = byId("query-frame");
    this.#listenToPointer();
    this.frame.addEventListener("keydown", (event) => this.#onKey(event));
    byId("polygon").onclick = () => this.#draftPolygon(!this.corners);
    byId("clear-box").onclick = () => this.choose(-1);
  }

  get region() {
    return this.list[this.active] ?? null;
  }

  reset(list = [], active = -1) {
    Object.assign(this, { list: [...list], active, size: null });
    this.#draftPolygon(false);
    this.draw();
  }

  // Boxes that were found, `{ box, name }`, beside those that were drawn; the first of them is searched by.
  addFound(found) {
    const isFound = ({ name, box }) => name || (box && found.some((each) => each.box.every((side, i) => Math.abs(side - box[i]) < 1)));
    this.list = [...found, ...this.list.filter((each) => !isFound(each))];
    return this.choose(0);
  }

  // The original's size in pixels, which is known after the first search.
  setSize(size) {
    this.size = size;
    this.draw();
  }

  choose(index) {
    this.active = index;
    this.#draftPolygon(false);
    this.draw();
    return this.onSearch();
  }

  draw() {
    this.box = this.size && this.region?.box ? this.#fractions(this.region.box) : null;
    this.#drawBox(this.box);
    this.#drawShapes();
    this.#drawChips();
    byId("clear-box").hidden = !this.region;
    byId("query-hint").textContent = this.corners ? POLYGON_HINT : this.region ? "Searching by this region." : HINT;
  }

  #add(region) {
    this.list.push(region);
    this.choose(this.list.length - 1);
  }

  #remove(index) {
    this.list.splice(index, 1);
    if (index === this.active) return this.choose(-1);
    if (index < this.active) this.active -= 1;
    this.draw();
  }

  #listenToPointer() {
    let start = null, box = null;
    this.frame.addEventListener("pointerdown", (event) => {
      if (event.button || !this.size) return;
      event.preventDefault();
      this.frame.focus({ preventScroll: true });
      if (this.corners) return this.#corner(this.#position(event));
      this.frame.setPointerCapture(event.pointerId);
      start = this.#position(event);
    });
    this.frame.addEventListener("pointermove", (event) => {
      if (this.corners) return this.#drawShapes(this.#position(event));
      if (!start) return;
      const end = this.#position(event);
      box = [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.max(start[0], end[0]), Math.max(start[1], end[1])];
      this.#drawBox(box);
    });
    this.frame.addEventListener("dblclick", () => this.corners && this.#closePolygon());
    const finish = (isKept) => {
      if (!start) return;
      const { width, height } = this.frame.getBoundingClientRect();
      const isBox = isKept && box && (box[2] - box[0]) * width > MIN_DRAG && (box[3] - box[1]) * height > MIN_DRAG;
      if (isBox) this.#add({ box: this.#pixels(box) });
      else this.draw();
      start = box = null;
    };
    this.frame.addEventListener("pointerup", () => finish(true));
    this.frame.addEventListener("pointercancel", () => finish(false));
  }

  // Enter draws a box and searches by it; arrows move it, with Shift they move its lower right corner.
  #onKey(event) {
    const step = { ArrowRight: [STEP, 0], ArrowLeft: [-STEP, 0], ArrowDown: [0, STEP], ArrowUp: [0, -STEP] }[event.key];
    if (event.ctrlKey || event.metaKey || !this.size) return;
    if (event.key === "p") this.#draftPolygon(!this.corners);
    else if (this.corners && step) this.#moveCursor(step);
    else if (this.corners && event.key === " ") this.#corner(this.cursor);
    else if (this.corners && event.key === "Enter") this.#closePolygon();
    else if (this.corners && event.key === "Escape") this.#draftPolygon(false);
    else if (event.key === "Enter" || event.key === " ") this.#searchByBox();
    else if (step) this.#moveBox(step, event.shiftKey);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  #searchByBox() {
    const box = this.#pixels(this.box ?? FIRST_BOX);
    if (!this.region?.box) return this.#add({ box });
    this.list[this.active] = { box };
    this.choose(this.active);
  }

  #moveBox(step, isResized) {
    this.box = this.box ? moved(this.box, step, isResized) : FIRST_BOX;
    this.#drawBox(this.box);
    byId("query-hint").textContent = "Press Enter to search by this region.";
  }

  #moveCursor(step) {
    this.cursor = this.cursor.map((value, i) => inside(value + step[i]));
    this.#drawShapes(this.cursor);
  }

  #draftPolygon(isOn) {
    this.corners = isOn ? [] : null;
    byId("polygon").setAttribute("aria-pressed", String(isOn));
    if (this.size) this.draw();
  }

  #corner(at) {
    const near = this.corners.length > 2 && Math.hypot(at[0] - this.corners[0][0], at[1] - this.corners[0][1]) < 0.03;
    if (near) return this.#closePolygon();
    this.corners.push(at);
    this.#drawShapes(at);
  }

  #closePolygon() {
    const corners = this.corners.filter((corner, i, all) => !i || Math.hypot(corner[0] - all[i - 1][0], corner[1] - all[i - 1][1]) > 0.005);
    if (corners.length < 3) return;
    this.corners = null;
    this.#add({ polygon: corners.map((corner) => this.#pixels(corner)) });
  }

  // The pointer's position as fractions of the picture's width and height.
  #position(event) {
    const area = this.frame.getBoundingClientRect();
    return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
  }

  #pixels(values) {
    return values.map((value, i) => Math.round(value * (i % 2 ? this.size.height : this.size.width) * 10) / 10);
  }

  #fractions(values) {
    return values.map((value, i) => value / (i % 2 ? this.size.height : this.size.width));
  }

  #drawBox(box) {
    const shown = byId("query-box"), percent = (value) => `${value * 100}%`;
    shown.hidden = !box;
    if (!box) return;
    Object.assign(shown.style, {
      left: percent(box[0]), top: percent(box[1]), width: percent(box[2] - box[0]), height: percent(box[3] - box[1]),
    });
  }

  // Outlines of all regions, and of the polygon that is being drawn up to `end`.
  #drawShapes(end = null) {
    const shapes = this.size ? this.list.map(({ box, polygon }, i) => {
      const [l, t, r, b] = box ? this.#fractions(box) : [];
      return outline(box ? [[l, t], [r, t], [r, b], [l, b]] : polygon.map((corner) => this.#fractions(corner)), i === this.active);
    }) : [];
    if (this.corners) shapes.push(outline(end ? [...this.corners, end] : this.corners, true));
    if (this.corners && end) shapes.push(outline([[end[0] - 0.01, end[1]], [end[0], end[1] - 0.01], [end[0] + 0.01, end[1]], [end[0], end[1] + 0.01]], true));
    byId("query-shapes").replaceChildren(...shapes);
  }

  #drawChips() {
    byId("regions").hidden = !this.list.length;
    byId("regions").replaceChildren(...this.list.flatMap((region, i) => {
      const kind = region.box ? "Box" : "Polygon", name = region.name ? `${i + 1}: ${region.name}` : `${kind} ${i + 1}`;
      const chip = button("chip name", name, `Search by ${name}`, () => this.choose(i));
      chip.setAttribute("aria-pressed", String(i === this.active));
      const remove = button("quiet", "✕", `Remove ${name}`, () => this.#remove(i));
      remove.setAttribute("aria-label", `Remove ${name}`);
      const both = element("span", "pair-of-buttons");
      both.append(chip, remove);
      return [both];
    }));
  }
}

function outline(corners, isActive) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", "polygon");
  made.setAttribute("points", corners.map((corner) => corner.join(",")).join(" "));
  made.setAttribute("class", isActive ? "active" : "");
  return made;
}

// A box moved by a step, or its lower right corner alone; it stays inside the picture.
function moved(box, [dx, dy], isResized) {
  const [left, top, right, bottom] = box;
  if (isResized) return [left, top, inside(right + dx, left + STEP, 1), inside(bottom + dy, top + STEP, 1)];
  const x = inside(dx, -left, 1 - right), y = inside(dy, -top, 1 - bottom);
  return [left + x, top + y, right + x, bottom + y];
}
