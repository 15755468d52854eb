// The view of a map. A source gives its data: from a server, or from the file that the page is.

import { MapCanvas } from "./canvas.js";
import { clusterColor, coloring } from "./colors.js";
import { MapControls } from "./controls.js";
import { ClusterLabels } from "./labels.js";
import { counted, make } from "./make.js";
import { boxPick } from "./points.js";
import { MapSelection } from "./selection.js";

const TIP_SIDE = 320; // pixels of the picture that is asked for
const TIP_WAIT = 60; // milliseconds until a picture is asked for
const HINT = "Drag to move, wheel or pinch to zoom, click a picture to select it. Keys: arrows move, + and − zoom, 0 shows the whole map, Shift and arrows go from picture to picture, Enter selects, Escape clears.";

export class MapView {
  // `onState` is told of changes that an address should hold; `card` makes a card of a picture; `attempt` runs what may fail.
  constructor(root, { onState, card, attempt }) {
    Object.assign(this, { root, onState, color: "", pick: "", layout: "", where: "" });
    const onPick = (pick) => attempt(() => this.select(pick));
    this.controls = new MapControls({
      onColor: (value) => attempt(() => this.colorBy(value.slice(1)), () => this.#refill()),
      onLayout: (layout) => attempt(() => this.open({ layout, color: this.color }), () => this.#refill()),
      onMode: (mode) => this.#setMode(mode), onPick,
      onZoom: (by) => (by ? this.map.zoomBy(by) : this.map.look(0.5, 0.5, 1)), onView: () => onPick(boxPick(...this.map.view)),
    });
    const canvas = make("canvas"), outline = svg("polygon"), drawing = svg("svg");
    drawing.append(outline);
    drawing.setAttribute("aria-hidden", "true");
    canvas.setAttribute("aria-hidden", "true");
    this.tipImage = make("img", { alt: "" });
    this.tipText = make("figcaption");
    this.tip = make("figure", { className: "map-tip", hidden: true }, this.tipImage, this.tipText);
    this.cursor = make("div", { className: "map-cursor", hidden: true });
    const labels = make("div", { className: "map-labels" });
    labels.setAttribute("aria-hidden", "true"); // the list beside the map has the clusters
    this.hint = make("p", { className: "soft small", id: "map-hint", textContent: HINT });
    this.said = make("p", { className: "unseen" });
    this.said.setAttribute("role", "status");
    this.stage = make("div", { className: "map-stage", tabIndex: 0 }, canvas, drawing, labels, this.cursor, this.tip);
    this.stage.setAttribute("role", "application");
    this.stage.setAttribute("aria-describedby", "map-hint");
    this.selection = new MapSelection({ card, onClear: () => onPick(""), onTagged: () => this.#afterTags() });
    this.remark = make("p", { className: "soft small", hidden: true });
    root.replaceChildren(this.controls.bar, make("div", { className: "map-body" }, this.stage, this.controls.side), this.hint, this.remark, this.said, this.selection.root);
    this.labels = new ClusterLabels(labels);
    this.map = new MapCanvas(this.stage, canvas, outline, { onMove: () => this.#moved(), onHover: (row) => this.#hovered(row), onPick });
    this.controls.setMode("move");
    new MutationObserver(() => this.recolor()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.recolor());
  }

  get theme() {
    return getComputedStyle(document.documentElement).colorScheme === "dark" ? "dark" : "light";
  }

  // What an address should hold; empty where it is as at first.
  get state() {
    const { x, y, zoom } = this.map, at = [x, y, zoom].map((value) => Number(value.toFixed(4))).join(",");
    return { layout: this.layout, color: this.color, at: at === "0.5,0.5,1" ? "" : at, pick: this.pick };
  }

  // Load a map from a source, or again from the same one, and show a state of it; with a filter, what passes it.
  async open({ source = this.source, layout = "", color = "", at = "", pick = "", where = this.where, isStep = false }) {
    const turn = (this.turn = {}), [found, passing] = await this.#waitFor(loaded(source, layout, where));
    if (this.turn !== turn) return; // another map was asked for meanwhile
    Object.assign(this, { source, found, layout, points: found.points, color: "", pick: "", where });
    this.points.passing = passing;
    const place = at.split(",").map(Number);
    this.map.hover(-1);
    this.map.set({ points: this.points, selected: null, colors: null });
    this.map.look(...(place.length === 3 && place.every(Number.isFinite) ? place : [0.5, 0.5, 1]));
    this.#nameStage();
    this.remark.textContent = found.remark;
    this.remark.hidden = !found.remark;
    await this.colorBy(found.fields.includes(color) ? color : "", false);
    await this.select(pick, false);
    this.onState(isStep);
  }

  // Show what passes another filter, or all; what was selected stays so where it passes.
  async filterBy(where) {
    const { points } = this, turn = (this.turn = {}), passing = where ? await this.source.passing(where) : null;
    if (this.turn !== turn) return;
    points.passing = passing;
    this.where = where;
    this.map.hover(-1);
    this.#nameStage();
    this.recolor();
    await this.select(this.pick, false);
    this.#say(`${counted(points.nShown, "picture")} shown`);
    this.onState(true);
  }

  #nameStage() {
    const { points, where } = this, n = this.shownClusters.length;
    const pictures = where ? `${points.nShown.toLocaleString("en")} of ${counted(points.n, "picture")}` : counted(points.n, "picture");
    this.stage.setAttribute("aria-label", `Map of ${pictures} in ${counted(n, "cluster")}`);
  }

  get isLoading() {
    return this.stage.hasAttribute("aria-busy");
  }

  get shownClusters() {
    return this.points.shownOf(this.found.clusters);
  }

  async #waitFor(loading) {
    this.stage.setAttribute("aria-busy", "true");
    try {
      return await loading;
    } finally {
      this.stage.removeAttribute("aria-busy");
    }
  }

  // Show what is chosen, where another choice failed.
  #refill() {
    if (this.found) this.controls.fill(this.found, this.color);
  }

  async colorBy(name, isStep = true) {
    const { found } = this, column = name ? await this.source.column(name) : null;
    if (this.found !== found) return; // another map was opened meanwhile
    Object.assign(this, { color: name, column });
    this.controls.fill(found, name);
    this.recolor();
    if (/^(value|others|none):/.test(this.pick)) await this.select("", false);
    if (isStep) this.onState();
  }

  recolor() {
    if (!this.points) return;
    const { theme, shownClusters: clusters } = this, colors = coloring(this.points, this.column, theme), isPlain = !this.column;
    this.map.set({ colors });
    this.controls.showLegend(colors, this.color);
    this.controls.showClusters(clusters, this.source, isPlain, theme);
    this.controls.showPick(this.pick);
    this.labels.show(clusters, this.source, (number) => (isPlain ? clusterColor(number, theme) : "var(--line)"));
  }

  // Select what a pick means; the same pick again clears it.
  async select(pick, isStep = true) {
    this.pick = isStep && pick === this.pick ? "" : pick;
    const rows = this.pick ? this.points.rowsOf(this.pick, this.column) : [];
    if (!rows.length) this.pick = "";
    const selected = rows.length ? new Uint8Array(this.points.n) : null;
    for (const row of rows) selected[row] = 1;
    this.map.set({ selected });
    this.controls.showPick(this.pick);
    if (isStep) this.#say(rows.length ? `${counted(rows.length, "picture")} selected; they are listed below the map` : "Nothing selected");
    if (isStep) this.onState(true);
    await this.selection.show(rows, this.source);
  }

  async #afterTags() {
    const { color, pick, state } = this;
    await this.open({ layout: state.layout, color, at: state.at, pick });
  }

  #setMode(mode) {
    if (this.map) this.map.mode = mode;
    this.stage?.classList.toggle("is-drawing", mode !== "move");
  }

  #moved() {
    this.labels.place(this.map);
    this.#placeTip();
    clearTimeout(this.settling);
    this.settling = setTimeout(() => this.onState(), 400); // a browser refuses an address that changes all the time
  }

  #hovered(row) {
    clearTimeout(this.asking);
    this.cursor.hidden = this.tip.hidden = row < 0;
    this.#placeTip();
    if (row < 0) return;
    this.tipText.textContent = "";
    this.tipImage.removeAttribute("src");
    this.asking = setTimeout(async () => {
      const [picture] = await this.source.pictures([row]);
      if (this.map.hovered !== row || !picture) return;
      const facts = Object.entries(picture.metadata).map(([name, value]) => `${name}: ${value}`);
      this.tipText.replaceChildren(make("b", { textContent: picture.name }), ...(facts.length ? [make("span", { textContent: facts.join(" · ") })] : []));
      this.#say([picture.name, ...facts].join(", "));
      this.source.show(this.tipImage, row, TIP_SIDE);
      this.#placeTip();
    }, TIP_WAIT);
  }

  #placeTip() {
    const { map } = this, row = map.hovered;
    if (row < 0) return;
    const [x, y] = map.pixelOf(map.points.x[row], map.points.y[row]), side = 2 * map.radius + 8;
    Object.assign(this.cursor.style, { width: `${side}px`, height: `${side}px`, transform: `translate(${x - side / 2}px, ${y - side / 2}px)` });
    const { offsetWidth: width, offsetHeight: height } = this.tip;
    const left = Math.max(4, Math.min(map.width - width - 4, x + 18 + width > map.width ? x - width - 18 : x + 18));
    const top = Math.max(4, Math.min(map.height - height - 4, y - height / 2));
    this.tip.style.transform = `translate(${Math.round(left)}px, ${Math.round(top)}px)`;
  }

  #say(text) {
    this.said.textContent = text;
  }
}

async function loaded(source, layout, where) {
  const found = await source.load(layout);
  return [found, where ? await source.passing(where) : null];
}

const svg = (tag) => document.createElementNS("http://www.w3.org/2000/svg", tag);
