// The controls beside a map: what it is colored by, how it is moved over, its legend, and its clusters as a list.

import { clusterColor } from "./colors.js";
import { counted, make } from "./make.js";

const MODES = { move: ["Move", "Drag to move, click a picture to select it"], lasso: ["Lasso", "Draw around pictures"], box: ["Box", "Draw a box; also Shift and drag"] };
const SIDE = 96; // pixels of a picture in the list
const PICTURES = 4; // of a cluster

export class MapControls {
  constructor({ onColor, onLayout, onMode, onZoom, onPick, onView }) {
    this.onPick = onPick;
    this.color = make("select", { onchange: () => onColor(this.color.value) });
    this.layout = make("select", { onchange: () => onLayout(this.layout.value) });
    this.modes = Object.entries(MODES).map(([mode, [text, title]]) => {
      const choice = make("button", { textContent: text, title, onclick: () => this.setMode(mode) });
      choice.dataset.mode = mode;
      return choice;
    });
    this.setMode = (mode) => {
      for (const each of this.modes) each.setAttribute("aria-pressed", String(each.dataset.mode === mode));
      onMode(mode);
    };
    const zoom = [["−", "Zoom out", 1 / 1.5], ["+", "Zoom in", 1.5]].map(([textContent, label, by]) => make("button", { textContent, label, title: label, onclick: () => onZoom(by) }));
    const whole = make("button", { textContent: "Whole map", title: "Whole map (0)", onclick: () => onZoom(0) });
    this.bar = make("div", { className: "bar map-bar" },
      make("label", { className: "map-choice" }, "Color by ", this.color),
      make("label", { className: "map-choice" }, "Layout ", this.layout),
      group("Pointer", this.modes), group("Zoom", [zoom[0], whole, zoom[1]]),
      make("button", { textContent: "Select what is in view", onclick: onView }));
    this.legend = make("div", { className: "map-legend" });
    this.list = make("div", { className: "map-clusters" });
    this.side = make("div", { className: "map-side" }, this.legend, make("details", { open: true }, make("summary", { textContent: "Clusters" }), this.list));
  }

  // What a map has: its fields and layouts.
  fill({ fields, layouts, layout, clusters }, color) {
    const names = [...(clusters.length ? [["", "cluster"]] : [["", "nothing"]]), ...fields.map((name) => [`.${name}`, name])];
    this.color.replaceChildren(...names.map(([value, text]) => new Option(text, value)));
    this.color.value = color ? `.${color}` : "";
    this.layout.replaceChildren(...layouts.map((name) => new Option(name.toUpperCase(), name)));
    this.layout.value = layout;
    this.layout.parentElement.hidden = layouts.length < 2;
  }

  showLegend({ legend, range }, name) {
    const lines = legend.map(({ color, text, count, pick }) => {
      const line = make(pick ? "button" : "p", { className: "map-entry" }, dot(color), make("span", { className: "map-text", textContent: text, title: text }), make("span", { className: "soft", textContent: count.toLocaleString("en") }));
      if (!pick) return line;
      line.dataset.pick = pick;
      line.setAttribute("aria-label", `${name} ${text}: select ${counted(count, "picture")}`);
      line.onclick = () => this.onPick(pick);
      return line;
    });
    if (range) lines.unshift(scale(range));
    this.legend.hidden = !lines.length;
    this.legend.replaceChildren(make("h2", { textContent: name }), ...lines);
  }

  showClusters(clusters, source, isColored, theme) {
    this.list.parentElement.hidden = !clusters.length;
    this.list.replaceChildren(...clusters.map(({ number, size, title, typical }) => {
      const images = typical.slice(0, PICTURES).map((row) => {
        const image = make("img", { alt: "", width: 44, height: 44 });
        source.show(image, row, SIDE);
        return image;
      });
      const line = make("button", { className: "map-cluster", label: `${title}: select ${counted(size, "picture")}`, onclick: () => this.onPick(`cluster:${number}`) },
        ...(isColored ? [dot(clusterColor(number, theme))] : []), make("span", { className: "map-text", textContent: title, title }), make("span", { className: "soft", textContent: size.toLocaleString("en") }),
        make("span", { className: "map-typical" }, ...images));
      line.dataset.pick = `cluster:${number}`;
      return line;
    }));
  }

  showPick(pick) {
    for (const each of this.side.querySelectorAll("button[data-pick]")) each.setAttribute("aria-pressed", String(each.dataset.pick === pick));
  }
}

function group(label, buttons) {
  const made = make("span", { className: "group", label }, ...buttons);
  made.setAttribute("role", "group");
  return made;
}

function dot(color) {
  const made = make("span", { className: "map-dot" });
  made.style.backgroundColor = color;
  return made;
}

function scale({ low, high, ramp }) {
  const bar = make("div", { className: "map-ramp" }), format = (value) => Number(value.toPrecision(5)).toString();
  bar.style.background = `linear-gradient(90deg, ${ramp.join(", ")})`;
  return make("div", {}, bar, make("p", { className: "map-ends soft small" }, make("span", { textContent: format(low) }), make("span", { textContent: format(high) })));
}
