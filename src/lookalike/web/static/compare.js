// Two pictures at full size: the maps of both, and for a cell of one its counterpart in the other.

import { getJson, showPicture } from "./api.js";
import { clearMap, drawMap, fitFrame, perPercent } from "./heat.js";

const BINS = 28; // positions sampled along each side, finer than common grids
const at = (id) => document.getElementById(id);

export class CompareView {
  constructor({ onError }) {
    this.onError = onError;
    this.sides = [new Side(at("left"), 0, this), new Side(at("right"), 1, this)];
    at("close").onclick = () => at("compare").close();
    at("previous").onclick = () => this.step(-1);
    at("next").onclick = () => this.step(1);
    at("opacity").oninput = () => at("compare").style.setProperty("--opacity", at("opacity").value / 100);
    at("compare").addEventListener("click", (event) => event.target === at("compare") && at("compare").close());
    at("compare").addEventListener("close", () => this.onClose?.(this.hit));
    at("compare").addEventListener("keydown", (event) => {
      if (event.target.closest(".frame, input")) return;
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    });
  }

  async open(search, hit) {
    Object.assign(this, { search, hit, found: null });
    this.cells = new Map();
    at("compare-title").textContent = `${hit.rank}. ${hit.name}`;
    at("compare-facts").textContent = `similarity ${hit.similarity.toFixed(3)}`;
    at("compare-note").textContent = "…";
    const pictures = [{ id: search.query.id, name: search.query.name }, hit];
    this.sides.forEach((side, i) => side.show(search.gallery, pictures[i]));
    if (!at("compare").open) at("compare").showModal();
    try {
      const found = await getJson(search.explanationPath(hit));
      if (this.hit !== hit) return;
      this.found = found;
      this.sizes = [found.query_geometry.original_size, found.match_geometry.original_size];
      this.overview();
    } catch (error) {
      at("compare-note").textContent = error.message;
    }
  }

  step(by) {
    const { hits } = this.search;
    const next = hits[hits.indexOf(this.hit) + by];
    if (next) this.open(this.search, next);
  }

  // Both maps of the whole similarity, in one range.
  overview() {
    const { found } = this;
    if (!found) return;
    this.sides[0].draw(perPercent(found.query_map), found.query_geometry, found.limit);
    this.sides[1].draw(perPercent(found.match_map), found.match_geometry, found.limit);
    this.sides.forEach((side) => side.mark(null));
    at("compare-note").textContent =
      `Orange increases the similarity, blue decreases it. The maps sum to the similarity` +
      (Math.abs(found.residual) < 0.0005 ? "." : ` less a residual of ${found.residual.toFixed(3)}.`) +
      ` Colors end at ±${found.limit.toFixed(3)} per 1 % of the view. Point at a cell to see its counterpart.`;
  }

  // The counterparts, in the other picture, of a cell of one side.
  async pointAt(index, x, y) {
    if (!this.found) return;
    const key = `${index},${Math.floor(x * BINS)},${Math.floor(y * BINS)}`;
    if (this.pointed === key) return;
    this.pointed = key;
    const { hit } = this;
    const [height, width] = this.sizes[index];
    try {
      if (!this.cells.has(key)) this.cells.set(key, getJson(this.#cellsPath(index, x * width, y * height)));
      const cells = await this.cells.get(key);
      if (this.pointed === key && this.hit === hit) this.#showCells(index, cells);
    } catch (error) {
      this.cells.delete(key);
      at("compare-note").textContent = error.message;
    }
  }

  leave() {
    this.pointed = null;
    this.overview();
  }

  #cellsPath(index, x, y) {
    const ids = [this.search.query.id, this.hit.id];
    const asked = new URLSearchParams({ here: ids[index], there: ids[1 - index], x, y });
    return `/galleries/${encodeURIComponent(this.search.gallery)}/cells?${asked}`;
  }

  #showCells(index, cells) {
    const here = this.sides[index], there = this.sides[1 - index];
    here.clear();
    here.mark(cells.cell_box, this.sizes[index]);
    there.draw(cells.cosines, cells.geometry, 1);
    there.mark(cells.best_box, this.sizes[1 - index]);
    at("compare-note").textContent =
      `This cell contributes ${cells.contribution.toFixed(4)} to the similarity. ` +
      `Its closest counterpart has a cosine of ${Math.max(...cells.cosines.flat()).toFixed(2)}; colors run from −1 to 1.`;
  }
}

class Side {
  constructor(frame, index, view) {
    this.frame = frame;
    [this.image, this.canvas, this.cell] = frame.children;
    this.caption = frame.nextElementSibling;
    fitFrame(frame, this.image);
    const point = (event) => {
      const area = frame.getBoundingClientRect();
      this.pointer = [(event.clientX - area.left) / area.width, (event.clientY - area.top) / area.height];
      view.pointAt(index, ...this.pointer);
    };
    for (const name of ["pointermove", "pointerdown"]) frame.addEventListener(name, point);
    frame.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && view.leave());
    frame.addEventListener("blur", () => view.leave());
    frame.addEventListener("keydown", (event) => {
      const step = { ArrowRight: [0.05, 0], ArrowLeft: [-0.05, 0], ArrowDown: [0, 0.05], ArrowUp: [0, -0.05] }[event.key];
      if (!step) return;
      event.preventDefault();
      this.pointer = (this.pointer ?? [0.5, 0.5]).map((v, i) => Math.max(0.01, Math.min(0.99, v + step[i])));
      view.pointAt(index, ...this.pointer);
    });
  }

  show(gallery, { id, name }) {
    this.pointer = null;
    this.caption.textContent = name;
    this.clear();
    this.mark(null);
    showPicture(this.image, gallery, id, 1600);
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
