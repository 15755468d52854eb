// One picture of a comparison: its photograph, map and marked cell, and pointing at it.

import { showPicture } from "./api.js";
import { clearMap, drawMap, fitFrame } from "./heat.js";

export class Side {
  constructor(frame, { onPoint, onLeave }) {
    this.frame = frame;
    this.view = frame.querySelector(".view");
    [this.image, this.canvas, this.cell, this.agreeing] = this.view.children;
    this.caption = frame.parentElement.querySelector("figcaption");
    fitFrame(frame, this.image);
    const point = (event) => {
      if (event.buttons && frame.closest(".zoomed")) return; // that moves the picture
      const area = this.view.getBoundingClientRect();
      const at = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
      if (at.some((value) => value < 0 || value >= 1)) return;
      this.pointer = at;
      onPoint(...at);
    };
    for (const name of ["pointermove", "pointerdown"]) frame.addEventListener(name, point);
    frame.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && onLeave());
    frame.addEventListener("blur", onLeave);
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0.05, 0], ArrowLeft: [-0.05, 0], ArrowDown: [0, 0.05], ArrowUp: [0, -0.05] }[event.key];
      if (!step || event.shiftKey) return; // with Shift the picture moves
      event.preventDefault();
      this.pointer = (this.pointer ?? [0.5, 0.5]).map((v, i) => Math.max(0.01, Math.min(0.99, v + step[i])));
      onPoint(...this.pointer);
    });
  }

  show(gallery, { id, name }) {
    Object.assign(this, { pointer: null, gallery, id });
    this.caption.textContent = name;
    this.clear();
    this.mark(null);
    this.agreeing.replaceChildren();
    this.sharpness = 1600;
    showPicture(this.image, gallery, id, this.sharpness);
  }

  // Load the largest picture that the server gives, once it is looked at closely.
  sharpen(side) {
    if (!this.id || this.sharpness >= side) return;
    this.sharpness = side;
    showPicture(this.image, this.gallery, this.id, side);
  }

  draw(map, geometry, limit) {
    drawMap(this.canvas, map, geometry, limit);
  }

  // The region that was searched by, and outline and points of a geometric match, all (x, y) in pixels of `size` (height, width).
  drawEvidence({ region = [], outline = [], points = [] }, [height, width]) {
    const texts = (corners) => corners.map(([x, y]) => `${x / width} ${y / height}`);
    const closed = (corners) => (corners.length ? `M${texts(corners).join("L")}Z` : "");
    const dots = texts(points).map((at) => `M${at}h0`).join("");
    this.agreeing.replaceChildren(...[["region", closed(region)], ["outline", closed(outline)], ["rim", dots], ["dots", dots]].filter(([, d]) => d).map(([name, d]) => {
      const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
      path.setAttribute("class", name);
      path.setAttribute("d", d);
      return path;
    }));
  }

  clear() {
    clearMap(this.canvas);
  }

  mark(box, size) {
    this.cell.hidden = !box;
    if (!box) return;
    const [height, width] = size, [left, top, right, bottom] = box;
    Object.assign(this.cell.style, {
      left: `${(left / width) * 100}%`, top: `${(top / height) * 100}%`,
      width: `${((right - left) / width) * 100}%`, height: `${((bottom - top) / height) * 100}%`,
    });
  }
}
