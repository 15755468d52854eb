// The query: dropped, chosen or taken from the gallery; a box dragged on it selects a region.

import { showPicture } from "./api.js";
import { clearMap, drawMap, fitFrame, perPercent } from "./heat.js";

const LEAST = 6; // screen pixels a side; less is a click
const at = (id) => document.getElementById(id);

export class QueryPanel {
  constructor({ onFile, onBox, onClear }) {
    this.onFile = onFile;
    this.onBox = onBox;
    this.geometry = null;
    fitFrame(at("query-frame"), at("query-image"));
    at("choose").onclick = () => at("file").click();
    at("file").onchange = () => {
      const [file] = at("file").files;
      at("file").value = "";
      if (file) onFile(file);
    };
    at("new-query").onclick = onClear;
    at("clear-box").onclick = () => this.setBox(null);
    this.#listenToDrops();
    this.#listenToDrags();
  }

  show(gallery, id, name) {
    at("drop").hidden = true;
    at("query").hidden = false;
    at("query-name").textContent = at("query-name").title = name;
    showPicture(at("query-image"), gallery, id, 1024);
    this.#drawBox(null);
    clearMap(at("query-heat"));
  }

  hide() {
    at("drop").hidden = false;
    at("query").hidden = true;
  }

  showMap(map, geometry, limit) {
    drawMap(at("query-heat"), perPercent(map), geometry, limit);
  }

  clearMap() {
    clearMap(at("query-heat"));
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
    const frame = at("query-frame");
    let start = null, before = null, box = null;
    frame.addEventListener("pointerdown", (event) => {
      if (event.button) return;
      frame.setPointerCapture(event.pointerId);
      before = this.box;
      start = this.#place(event);
      event.preventDefault();
    });
    frame.addEventListener("pointermove", (event) => {
      if (!start) return;
      const end = this.#place(event);
      box = [Math.min(start[0], end[0]), Math.min(start[1], end[1]), Math.max(start[0], end[0]), Math.max(start[1], end[1])];
      this.#drawBox(box);
    });
    const finish = (isKept) => {
      if (!start) return;
      const { width, height } = frame.getBoundingClientRect();
      const isBox = isKept && box && (box[2] - box[0]) * width > LEAST && (box[3] - box[1]) * height > LEAST;
      if (isBox) this.setBox(box);
      else this.#drawBox(before);
      start = box = null;
    };
    frame.addEventListener("pointerup", () => finish(true));
    frame.addEventListener("pointercancel", () => finish(false));
  }

  // A point on the picture as fractions of its width and height.
  #place(event) {
    const area = at("query-frame").getBoundingClientRect();
    const inside = (value) => Math.max(0, Math.min(1, value));
    return [inside((event.clientX - area.left) / area.width), inside((event.clientY - area.top) / area.height)];
  }

  #inPixels(box) {
    const { width, height } = this.size;
    return [box[0] * width, box[1] * height, box[2] * width, box[3] * height].map((v) => Math.round(v * 10) / 10);
  }

  #drawBox(box) {
    this.box = box;
    const shown = at("query-box");
    shown.hidden = at("clear-box").hidden = !box;
    at("query-hint").textContent = box ? "Searching by this region." : "Drag on the picture to search by a region.";
    if (!box) return;
    const percent = (value) => `${value * 100}%`;
    Object.assign(shown.style, {
      left: percent(box[0]), top: percent(box[1]), width: percent(box[2] - box[0]), height: percent(box[3] - box[1]),
    });
  }
}
