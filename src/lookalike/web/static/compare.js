// The query beside one candidate or several, with their maps; pointing at a cell shows its best match in the others.

import { answerNote, chosenMap, partButtons } from "./answers.js";
import { galleryPath, getJson } from "./api.js";
import { byId, isForField } from "./dom.js";
import { showGraph } from "./graph.js";
import { fixed, perPercent } from "./heat.js";
import { rangesInWords, sideLimits } from "./ranges.js";
import { evidenceInWords, factsOf } from "./results.js";
import { regionOption } from "./search.js";
import { Side } from "./sides.js";
import { pressVerdict, verdictRow } from "./verdicts.js";
import { Viewing } from "./viewing.js";

const BINS = 28; // positions per side at which cells are requested; finer than common grids
const MOST_CANDIDATES = 4;

export class CompareView {
  constructor({ desk }) {
    Object.assign(this, { desk, dialog: byId("compare"), sides: [], hits: [], founds: [] });
    this.viewing = new Viewing(this.dialog, () => this.sides);
    this.#addSide(byId("left"));
    this.#addSide(byId("right"));
    byId("close").onclick = () => this.dialog.close();
    byId("previous").onclick = () => this.step(-1);
    byId("next").onclick = () => this.step(1);
    byId("beside").onclick = () => this.addCandidate();
    byId("map").onclick = () => this.toggleMap();
    byId("opacity").oninput = () => this.#setOpacity();
    byId("contrast").onchange = () => this.#load();
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.dialog.close());
    this.dialog.addEventListener("close", () => this.onClose?.(this.hit));
    this.dialog.addEventListener("keydown", (event) => this.#onKey(event));
  }

  get hit() {
    return this.hits[0];
  }

  async open(search, hit) {
    Object.assign(this, { search, hits: [hit] });
    this.#dropCandidates();
    this.viewing.reset();
    if (!this.dialog.open) this.dialog.showModal();
    if (search.query) this.sides[0].show(search.gallery, { id: search.query.id, name: search.query.name });
    this.#countColumns();
    this.#showCandidate(0);
    await this.#load();
  }

  step(by) {
    const { hits } = this.search, next = hits[hits.indexOf(this.hit) + by];
    if (next) this.open(this.search, next);
  }

  // Show the hit after the last one shown beside the others.
  async addCandidate() {
    const { hits } = this.search, next = hits[hits.indexOf(this.hits.at(-1)) + 1];
    if (!next || this.hits.length >= MOST_CANDIDATES) return;
    this.viewing.setMode("");
    const figure = byId("right").closest("figure").cloneNode(true), frame = figure.querySelector(".frame");
    frame.removeAttribute("id");
    frame.removeAttribute("style");
    figure.querySelector(".verdict-place").replaceChildren();
    figure.querySelector("img").removeAttribute("src");
    byId("pair").append(figure);
    this.hits.push(next);
    this.#addSide(frame);
    this.#showCandidate(this.hits.length - 1);
    await this.#load();
  }

  toggleMap() {
    const isOff = this.dialog.classList.toggle("mapless");
    byId("map").setAttribute("aria-pressed", String(!isOff));
  }

  #setOpacity(by = 0) {
    byId("opacity").value = Number(byId("opacity").value) + by;
    this.dialog.style.setProperty("--opacity", byId("opacity").value / 100);
  }

  #addSide(frame) {
    const index = this.sides.length;
    this.sides.push(new Side(frame, { onPoint: (x, y) => this.pointAt(index, x, y), onLeave: () => this.leave() }));
    this.viewing.listen(frame);
    this.#countColumns();
  }

  #dropCandidates() {
    for (const side of this.sides.splice(2)) side.frame.closest("figure").remove();
    this.#countColumns();
  }

  #countColumns() {
    const isAlone = this.search && !this.search.query; // words have no picture
    this.dialog.style.setProperty("--columns", this.sides.length - (isAlone ? 1 : 0));
    this.dialog.classList.toggle("alone", Boolean(isAlone));
    this.dialog.classList.toggle("many", this.sides.length > 2);
  }

  #showCandidate(i) {
    const hit = this.hits[i], side = this.sides[i + 1], { search } = this;
    side.show(search.gallery, hit);
    side.caption.textContent = `${hit.rank}. ${hit.name} · ${fixed(hit.similarity, 3)}`;
    side.frame.setAttribute("aria-label", `Match ${hit.rank}, ${hit.name}: point at a cell, or use the arrow keys`);
    const place = side.frame.closest("figure").querySelector(".verdict-place");
    if (!search.query) return place.replaceChildren(); // a case holds pairs of pictures
    place.replaceChildren(verdictRow(this.desk, () => ({ search, hit }), () => this.#seen(), { isOpen: this.hits.length === 1 }));
  }

  // The explanations of all candidates; answers to earlier questions are not shown.
  async #load() {
    const { search, hits, hit } = this, asked = (this.asked = {});
    Object.assign(this, { founds: [], chosen: null, part: -1, pointed: null, cells: new Map() });
    showGraph(byId("graph"), null);
    byId("parts").hidden = true;
    byId("compare-title").textContent = `${hit.rank}. ${hit.name}`;
    byId("compare-facts").textContent = [`similarity ${fixed(hit.similarity, 3)}`, ...evidenceInWords(hit), ...factsOf(hit)].join(" · ");
    byId("compare-note").textContent = "…";
    byId("contrast").parentElement.hidden = search.method !== "shares"; // the others have no contrast
    try {
      const founds = await Promise.all(hits.map((each) => getJson(search.explanationPath(each, this.#options()))));
      if (this.asked !== asked) return;
      const queryMaps = search.asked ? [] : founds.map((each) => each.query_map);
      Object.assign(this, { founds, limits: sideLimits(queryMaps, founds.map((each) => each.match_map)) });
      if (search.asked) this.#showParts();
      else if (search.method !== "shares") {
        byId("compare-facts").textContent = `cosine ${fixed(hit.similarity, 3)} · similarity by ${search.method} ${fixed(founds[0].similarity, 3)}`;
      }
      this.sizes = [founds[0].query_geometry.original_size, ...founds.map((each) => each.match_geometry.original_size)];
      this.#drawEvidence();
      if (hits.length === 1) showGraph(byId("graph"), founds[0], (chosen) => {
        this.chosen = chosen;
        this.overview();
      });
      this.overview();
    } catch (error) {
      byId("compare-note").textContent = error.message;
    }
  }

  // The region that was searched by, and of a match by geometry where both lie on each other, with the points that agree.
  #drawEvidence() {
    const { request: { box, polygon } } = this.search, [left, top, right, bottom] = box ?? [];
    const region = box ? [[left, top], [right, top], [right, bottom], [left, bottom]] : polygon ?? [];
    const [first] = this.hits.map(({ geometry }) => geometry);
    this.sides[0].drawEvidence({ region, outline: first?.outline, points: first?.query_points }, this.sizes[0]);
    this.hits.forEach(({ geometry }, i) => this.sides[i + 1].drawEvidence({ outline: geometry?.match_outline, points: geometry?.match_points }, this.sizes[i + 1]));
  }

  // Buttons for the words, or the parts, that a search asked for.
  #showParts() {
    const range = Math.max(...this.founds.map((each) => each.part_limit));
    for (const each of this.founds) each.part_limit = range;
    byId("parts").hidden = false;
    byId("parts").replaceChildren(partButtons(this.founds[0], (part) => {
      this.part = part;
      this.overview();
    }));
  }

  #options() {
    return byId("contrast").checked && !byId("contrast").parentElement.hidden ? { contrast: true } : {};
  }

  #seen() {
    if (!this.founds.length || this.dialog.classList.contains("mapless")) return "";
    return [this.search.method, ...(this.#options().contrast ? ["beyond what all share"] : [])].join(", ");
  }

  // Show the maps of the whole similarity, or of the level or node chosen, all with the same color range.
  overview() {
    const { founds: [found], chosen, limits } = this;
    if (!found) return;
    this.sides.forEach((side) => side.mark(null));
    if (this.search.asked) return this.#drawAnswers();
    if (chosen) {
      this.sides.forEach((side, i) => side.draw(chosen.maps[i], chosen.geometries[i], chosen.limit));
      byId("compare-note").textContent = chosen.note;
      return;
    }
    this.sides[0].draw(perPercent(found.query_map), found.query_geometry, limits.query);
    this.founds.forEach((each, i) => this.sides[i + 1].draw(perPercent(each.match_map), each.match_geometry, limits.match));
    byId("compare-note").textContent =
      (this.hit.geometry?.inliers ? "Dots: points that agree; orange outline: where one picture lies on the other. " : "") +
      (this.founds.length > 1 ? "On the query: the map of the first candidate. " : "") +
      `Orange cells raise the similarity, blue cells lower it. Each map sums to the similarity` +
      (Math.abs(found.residual) < 0.0005 ? "." : ` less a residual (${residualOf(found)} for the query).`) +
      ` ${rangesInWords(limits, this.founds.length > 1 ? "matches" : "match")} Point at a cell to see what it matches.`;
  }

  // Where the pictures answer words: all of them, or the part that was chosen.
  #drawAnswers() {
    const { founds, part, limits } = this;
    this.sides[0].clear();
    founds.forEach((each, i) => {
      const [map, limit] = chosenMap(each, part, limits.match);
      this.sides[i + 1].draw(perPercent(map), each.match_geometry, limit);
    });
    byId("compare-note").textContent = answerNote(founds[0], part, limits.match);
  }

  // Show how the cell at (x, y) of one side matches the cells of the others; x, y in [0, 1].
  async pointAt(index, x, y) {
    if (!this.founds.length || this.search.asked) return; // words have no cells
    const key = `${index},${Math.floor(x * BINS)},${Math.floor(y * BINS)}`;
    if (this.pointed === key) return;
    this.pointed = key;
    const { hit } = this, [height, width] = this.sizes[index];
    try {
      if (!this.cells.has(key)) {
        const others = index ? [0] : this.hits.map((_, i) => i + 1);
        this.cells.set(key, Promise.all(others.map(async (other) => [other, await getJson(this.#cellsPath(index, other, x * width, y * height))])));
      }
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

  #cellsPath(index, other, x, y) {
    const id = (side) => (side ? this.hits[side - 1].id : this.search.query.id);
    const part = regionOption(this.search.request); // of the query
    const parameters = new URLSearchParams({ first: id(index), second: id(other), x, y, ...part, ...(index && { box_on: "second" }) });
    return galleryPath(this.search.gallery, `/cells?${parameters}`);
  }

  #showCells(index, answers) {
    const [, first] = answers[0];
    this.sides.forEach((side) => side.clear());
    this.sides.forEach((side) => side.mark(null));
    this.sides[index].mark(first.cell_box, this.sizes[index]);
    for (const [other, cells] of answers) {
      this.sides[other].draw(cells.cosines, cells.geometry, 1);
      this.sides[other].mark(cells.best_box, this.sizes[other]);
    }
    const best = answers.map(([, cells]) => fixed(Math.max(...cells.cosines.flat()), 2)).join(", ");
    byId("compare-note").textContent =
      `At the last layer, this cell contributes ${fixed(first.contribution, 4)} to the similarity. ` +
      `Its best match has a cosine of ${best}. Colors range from −1 to 1.`;
  }

  #onKey(event) {
    if (isForField(event) || byId("ask-token").open) return;
    const isInFrame = event.target.closest(".frame"), isInSlider = event.target.matches("input[type=range]");
    const keys = {
      j: () => this.step(1), k: () => this.step(-1), w: () => this.toggleMap(), m: () => this.toggleMap(),
      "+": () => this.viewing.zoomBy(1.5), "=": () => this.viewing.zoomBy(1.5), "-": () => this.viewing.zoomBy(1 / 1.5), 0: () => this.viewing.reset(),
      "[": () => this.#setOpacity(-10), "]": () => this.#setOpacity(10), x: () => this.viewing.swap(), a: () => this.addCandidate(),
      s: () => byId("split").click(), b: () => byId("blink").click(), f: () => (this.viewing.mode ? this.viewing.flip() : byId("flip").click()),
      h: () => this.viewing.panBy(0.1, 0), l: () => this.viewing.panBy(-0.1, 0),
      ...(!isInFrame && !isInSlider && { ArrowLeft: () => this.step(-1), ArrowRight: () => this.step(1) }),
      ...(event.shiftKey && isInFrame && {
        ArrowLeft: () => this.viewing.panBy(0.1, 0), ArrowRight: () => this.viewing.panBy(-0.1, 0),
        ArrowUp: () => this.viewing.panBy(0, 0.1), ArrowDown: () => this.viewing.panBy(0, -0.1),
      }),
    };
    const act = keys[event.key];
    const row = (event.target.closest("figure") ?? this.dialog).querySelector(".verdicts") ?? this.dialog.querySelector(".verdicts");
    if (act) act();
    else if (!pressVerdict(this.desk, row, event.key)) return;
    event.preventDefault();
  }
}

// "0.153: CLS 0.120, registers 0.033", or the number alone where its parts are not known.
function residualOf(found) {
  const named = Object.entries(found.residual_parts).filter(([, value]) => Math.abs(value) >= 0.0005);
  const parts = named.map(([name, value]) => `${name} ${fixed(value, 3)}`);
  return fixed(found.residual, 3) + (parts.length ? `: ${parts.join(", ")}` : "");
}
