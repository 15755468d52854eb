// How pictures of a comparison are looked at: zoom and pan of all of them together, and laid over each other.

import { byId } from "./dom.js";

const MOST = 16; // times
const SHARPEN_FROM = 1.4; // times
const FULL = 8192; // pixels of the longer side
const BLINK_MS = 700;
const MODES = ["split", "flip", "blink"]; // ways to lay the match over the query

export class Viewing {
  constructor(dialog, sides) {
    Object.assign(this, { dialog, sides, zoom: 1, x: 0, y: 0, mode: "", isFlipped: false, pointers: new Map() });
    for (const mode of MODES) byId(mode).onclick = () => this.setMode(this.mode === mode ? "" : mode);
    byId("swap").onclick = () => this.swap();
    byId("zoom-in").onclick = () => this.zoomBy(1.5);
    byId("zoom-out").onclick = () => this.zoomBy(1 / 1.5);
    byId("zoom-reset").onclick = () => this.reset();
    byId("split-at").oninput = () => this.#apply();
    dialog.addEventListener("close", () => this.setMode(""));
  }

  listen(frame) {
    frame.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomBy(event.deltaY < 0 ? 1.2 : 1 / 1.2, this.#at(frame, event));
    }, { passive: false });
    frame.addEventListener("pointerdown", (event) => {
      this.pointers.set(event.pointerId, [event.clientX, event.clientY]);
      if (this.zoom > 1 || this.pointers.size > 1) frame.setPointerCapture(event.pointerId);
    });
    frame.addEventListener("pointermove", (event) => this.#drag(frame, event));
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"]) frame.addEventListener(name, (event) => this.pointers.delete(event.pointerId));
  }

  reset() {
    Object.assign(this, { zoom: 1, x: 0, y: 0 });
    this.#apply();
  }

  // Zoom about a point of the frame, in fractions of it.
  zoomBy(factor, [px, py] = [0.5, 0.5]) {
    const zoom = Math.max(1, Math.min(MOST, this.zoom * factor)), change = zoom / this.zoom;
    this.x = px - (px - this.x) * change;
    this.y = py - (py - this.y) * change;
    this.zoom = zoom;
    this.#apply();
  }

  panBy(dx, dy) {
    this.x += dx;
    this.y += dy;
    this.#apply();
  }

  setMode(mode) {
    this.mode = mode;
    this.isFlipped = mode === "flip";
    clearInterval(this.blinking);
    const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches;
    if (mode === "blink" && !isStill) this.blinking = setInterval(() => this.flip(), BLINK_MS);
    if (mode === "blink" && isStill) this.isFlipped = true; // no motion: F turns it over by hand
    this.#apply();
  }

  // Show the other of two pictures that lie over each other.
  flip() {
    this.isFlipped = !this.isFlipped;
    this.#apply();
  }

  swap() {
    const isOn = this.dialog.classList.toggle("swapped");
    byId("swap").setAttribute("aria-pressed", String(isOn));
  }

  #at(frame, event) {
    const area = frame.getBoundingClientRect();
    return [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
  }

  #drag(frame, event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = [event.clientX, event.clientY], area = frame.getBoundingClientRect();
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.pointers.set(event.pointerId, now);
    if (others.length) {
      const distance = ([x, y]) => Math.hypot(x - others[0][0], y - others[0][1]);
      const middle = { clientX: (now[0] + others[0][0]) / 2, clientY: (now[1] + others[0][1]) / 2 };
      this.zoomBy(distance(now) / Math.max(1, distance(before)), this.#at(frame, middle));
    } else if (this.zoom > 1) this.panBy((now[0] - before[0]) / area.width, (now[1] - before[1]) / area.height);
  }

  #apply() {
    const least = 1 - this.zoom; // the picture covers its frame
    this.x = Math.max(least, Math.min(0, this.x));
    this.y = Math.max(least, Math.min(0, this.y));
    const { style, classList } = this.dialog;
    style.setProperty("--zoom", this.zoom);
    style.setProperty("--x", `${this.x * 100}%`);
    style.setProperty("--y", `${this.y * 100}%`);
    style.setProperty("--split", `${byId("split-at").value}%`);
    classList.toggle("zoomed", this.zoom > 1);
    classList.toggle("laid", Boolean(this.mode));
    for (const mode of MODES) {
      classList.toggle(mode, this.mode === mode);
      byId(mode).setAttribute("aria-pressed", String(this.mode === mode));
    }
    classList.toggle("flipped", this.isFlipped);
    byId("split-at").parentElement.hidden = this.mode !== "split";
    byId("zoom-reset").textContent = `${Math.round(this.zoom * 100)} %`;
    if (this.zoom >= SHARPEN_FROM) for (const side of this.sides()) side.sharpen(FULL);
  }
}
