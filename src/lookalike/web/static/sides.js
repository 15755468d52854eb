// One picture of a comparison: its photograph, map and marked cell, and pointing at it.

import { showPicture } from "./api.js";
import { clearMap, drawMap, fitFrame } from "./heat.js";

export class Side {
  constructor(frame, { onPoint, onLeave }) {
    this.frame = frame;
    this.view = frame.querySelector(".view");
    [this.image, this.canvas, this.cell] = this.view.children;
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
