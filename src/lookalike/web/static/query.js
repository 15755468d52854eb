// The query picture: dropped, pasted, chosen or from the gallery; a dragged box searches by a region.

import { showPicture } from "./api.js";
import { clearMap, drawMap, fitFrame, perPercent } from "./heat.js";

const MIN_DRAG = 6; // smallest side of a box in screen pixels; anything smaller is a click
const STEP = 0.04; // by which an arrow key moves a side, in parts of the picture
const FIRST_BOX = [0.25, 0.25, 0.75, 0.75];
const byId = (id) => document.getElementById(id);

export class QueryPanel {
  constructor({ onFile, onBox, onClear }) {
    this.onFile = onFile;
    this.onBox = onBox;
    this.geometry = null;
    fitFrame(byId("query-frame"), byId("query-image"));
    byId("choose").onclick = () => byId("file").click();
    byId("file").onchange = () => {
      const [file] = byId("file").files;
      byId("file").value = "";
      if (file) onFile(file);
    };
    byId("new-query").onclick = onClear;
    byId("clear-box").onclick = () => this.setBox(null);
    this.#listenToDrops();
    this.#listenToDrags();
    this.#listenToKeys();
  }

  show(gallery, id, name) {
    byId("drop").hidden = true;
    byId("query").hidden = false;
    byId("query-name").textContent = byId("query-name").title = name;
    showPicture(byId("query-image"), gallery, id, 1024);
    this.#drawBox(null);
    clearMap(byId("query-heat"));
  }

  hide() {
    byId("drop").hidden = false;
    byId("query").hidden = true;
  }

  showMap(map, geometry, limit) {
    drawMap(byId("query-heat"), perPercent(map), geometry, limit);
  }

  clearMap() {
    clearMap(byId("query-heat"));
  }

  setBox(box) {
    this.#drawBox(box);
    this.onBox(box && this.#inPixels(box));
  }

  #listenToDrops() {
    const body = document.body;
    body.addEventListener("dragover", (event) => {
      event.preventDefault();
      body.classList.add("dropping");
    });
    body.addEventListener("dragleave", (event) => event.relatedTarget ?? body.classList.remove("dropping"));
    body.addEventListener("drop", (event) => {
      event.preventDefault();
      body.classList.remove("dropping");
      const [file] = event.dataTransfer.files;
      if (file) this.onFile(file);
    });
    document.addEventListener("paste", (event) => {
      const [file] = event.clipboardData.files;
      if (file) this.onFile(file);
    });
  }

  #listenToDrags() {
    const frame = byId("query-frame");
    let start = null, before = null, box = null;
    frame.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      frame.setPointerCapture(event.pointerId);
      before = this.box;
      start = this.#position(event);
      event.preventDefault();
    });
    frame.addEventListener("pointermove", (event) => {
      if (!start) return;
      const end = this.#position(event);
      box = [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.max(start[0], end[0]), Math.max(start[1], end[1])];
      this.#drawBox(box);
    });
    const finish = (isKept) => {
      if (!start) return;
      const { width, height } = frame.getBoundingClientRect();
      const isBox = isKept && box && (box[2] - box[0]) * width > MIN_DRAG && (box[3] - box[1]) * height > MIN_DRAG;
      if (isBox) this.setBox(box);
      else this.#drawBox(before);
      start = box = null;
    };
    frame.addEventListener("pointerup", () => finish(true));
    frame.addEventListener("pointercancel", () => finish(false));
  }

  // Enter draws a box and searches by it; arrows move it, with Shift they move its lower right corner.
  #listenToKeys() {
    byId("query-frame").addEventListener("keydown", (event) => {
      const step = { ArrowRight: [STEP, 0], ArrowLeft: [-STEP, 0], ArrowDown: [0, STEP], ArrowUp: [0, -STEP] }[event.key];
      if (event.key === "Enter" || event.key === " ") this.setBox(this.box ?? FIRST_BOX);
      else if (step) this.#drawBox(this.box ? moved(this.box, step, event.shiftKey) : FIRST_BOX);
      else return;
      event.preventDefault();
      if (step) byId("query-hint").textContent = "Press Enter to search by this region.";
    });
  }

  // The pointer's position as fractions of the picture's width and height.
  #position(event) {
    const area = byId("query-frame").getBoundingClientRect();
    const inside = (value) => Math.max(0, Math.min(1, value));
    return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
  }

  #inPixels(box) {
    const { width, height } = this.size;
    return [box[0] * width, box[1] * height, box[2] * width, box[3] * height].map((v) => Math.round(v * 10) / 10);
  }

  #drawBox(box) {
    this.box = box;
    const shown = byId("query-box");
    shown.hidden = byId("clear-box").hidden = !box;
    byId("query-hint").textContent = box ? "Searching by this region." : "Drag on the picture to search by a region.";
    if (!box) return;
    const percent = (value) => `${value * 100}%`;
    Object.assign(shown.style, {
      left: percent(box[0]), top: percent(box[1]), width: percent(box[2] - box[0]), height: percent(box[3] - box[1]),
    });
  }
}

// A box moved by a step, or its lower right corner alone; it stays inside the picture.
function moved(box, [dx, dy], isResized) {
  const [left, top, right, bottom] = box;
  const inside = (value, low, high) => Math.max(low, Math.min(high, value));
  if (isResized) return [left, top, inside(right + dx, left + STEP, 1), inside(bottom + dy, top + STEP, 1)];
  const x = inside(dx, -left, 1 - right), y = inside(dy, -top, 1 - bottom);
  return [left + x, top + y, right + x, bottom + y];
}
