// Two pictures side by side with their maps; pointing at a cell shows its best match in the other.

import { getJson, showPicture } from "./api.js";
import { showGraph } from "./graph.js";
import { clearMap, drawMap, fitFrame, fixed, perPercent } from "./heat.js";
import { factsOf } from "./results.js";

const BINS = 28; // positions per side at which cells are requested; finer than common grids
const byId = (id) => document.getElementById(id);

export class CompareView {
  constructor({ onError }) {
    this.onError = onError;
    this.sides = [new Side(byId("left"), 0, this), new Side(byId("right"), 1, this)];
    byId("close").onclick = () => byId("compare").close();
    byId("previous").onclick = () => this.step(-1);
    byId("next").onclick = () => this.step(1);
    byId("opacity").oninput = () => byId("compare").style.setProperty("--opacity", byId("opacity").value / 100);
    byId("contrast").onchange = () => this.open(this.search, this.hit);
    byId("compare").addEventListener("click", (event) => event.target === byId("compare") && byId("compare").close());
    byId("compare").addEventListener("close", () => this.onClose?.(this.hit));
    byId("compare").addEventListener("keydown", (event) => {
      if (event.target.closest(".frame, input")) return;
      if (event.key === "ArrowLeft") this.step(-1);
      if (event.key === "ArrowRight") this.step(1);
    });
  }

  async open(search, hit) {
    Object.assign(this, { search, hit, found: null, chosen: null });
    this.cells = new Map();
    showGraph(byId("graph"), null);
    byId("compare-title").textContent = `${hit.rank}. ${hit.name}`;
    byId("compare-facts").textContent = [`similarity ${fixed(hit.similarity, 3)}`, ...factsOf(hit)].join(" · ");
    byId("compare-note").textContent = "…";
    const asked = (this.asked = {}); // answers to earlier questions are not shown
    byId("contrast").parentElement.hidden = search.method !== "shares"; // the others have no contrast
    const pictures = [{ id: search.query.id, name: search.query.name }, hit];
    this.sides.forEach((side, i) => side.show(search.gallery, pictures[i]));
    if (!byId("compare").open) byId("compare").showModal();
    try {
      const found = await getJson(search.explanationPath(hit, this.#options()));
      if (this.asked !== asked) return;
      this.found = found;
      if (search.method !== "shares") {
        byId("compare-facts").textContent = `cosine ${hit.similarity.toFixed(3)} · similarity by ${search.method} ${found.similarity.toFixed(3)}`;
      }
      this.sizes = [found.query_geometry.original_size, found.match_geometry.original_size];
      showGraph(byId("graph"), found, (chosen) => {
        this.chosen = chosen;
        this.overview();
      });
      this.overview();
    } catch (error) {
      byId("compare-note").textContent = error.message;
    }
  }

  #options() {
    return byId("contrast").checked && !byId("contrast").parentElement.hidden ? { contrast: true } : {};
  }

  step(by) {
    const { hits } = this.search;
    const next = hits[hits.indexOf(this.hit) + by];
    if (next) this.open(this.search, next);
  }

  // Show the maps of the whole similarity, or of the level or node chosen, both with the same color range.
  overview() {
    const { found, chosen } = this;
    if (!found) return;
    if (chosen) {
      this.sides.forEach((side, i) => {
        side.draw(chosen.maps[i], chosen.geometries[i], chosen.limit);
        side.mark(null);
      });
      byId("compare-note").textContent = chosen.note;
      return;
    }
    this.sides[0].draw(perPercent(found.query_map), found.query_geometry, found.limit);
    this.sides[1].draw(perPercent(found.match_map), found.match_geometry, found.limit);
    this.sides.forEach((side) => side.mark(null));
    byId("compare-note").textContent =
      `Orange cells raise the similarity, blue cells lower it. Each map sums to the similarity` +
      (Math.abs(found.residual) < 0.0005 ? "." : ` less a residual (${residualOf(found)} for the query).`) +
      ` Colors range over ±${fixed(found.limit, 3)} per 1% of the view. Point at a cell to see what it matches.`;
  }

  // Show how the cell at (x, y) of one side matches the cells of the other; x, y in [0, 1].
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
      byId("compare-note").textContent = error.message;
    }
  }

  leave() {
    this.pointed = null;
    this.overview();
  }

  #cellsPath(index, x, y) {
    const ids = [this.search.query.id, this.hit.id];
    const { box } = this.search.request; // of the query, which is the first picture when the left side is pointed at
    const part = box && { box: box.join(","), box_on: index ? "second" : "first" };
    const parameters = new URLSearchParams({ first: ids[index], second: ids[1 - index], x, y, ...part });
    return `/galleries/${encodeURIComponent(this.search.gallery)}/cells?${parameters}`;
  }

  #showCells(index, cells) {
    const own = this.sides[index], other = this.sides[1 - index];
    own.clear();
    own.mark(cells.cell_box, this.sizes[index]);
    other.draw(cells.cosines, cells.geometry, 1);
    other.mark(cells.best_box, this.sizes[1 - index]);
    byId("compare-note").textContent =
      `At the last layer, this cell contributes ${fixed(cells.contribution, 4)} to the similarity. ` +
      `Its best match has a cosine of ${fixed(Math.max(...cells.cosines.flat()), 2)}. Colors range from −1 to 1.`;
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

// "0.153: CLS 0.120, registers 0.033", or the number alone where its parts are not known.
function residualOf(found) {
  const named = Object.entries(found.residual_parts).filter(([, value]) => Math.abs(value) >= 0.0005);
  const parts = named.map(([name, value]) => `${name} ${fixed(value, 3)}`);
  return fixed(found.residual, 3) + (parts.length ? `: ${parts.join(", ")}` : "");
}
