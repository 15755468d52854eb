// The page of one file: all data of the map is in it.

import { attempt } from "./fallback.js";
import { counted, make } from "./make.js";
import { MapPoints } from "./points.js";
import { MapView } from "./view.js";

const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

class FileMap {
  constructor(values) {
    this.values = values;
    this.points = new MapPoints(bytesOf(values.points).buffer, values.n_pictures);
  }

  async load() {
    return { ...this.values, points: this.points };
  }

  async column(name) {
    return this.values.columns.find((column) => column.name === name);
  }

  async pictures(rows) {
    return rows.map((row) => ({ row, id: this.points.id(row), name: this.values.names[row], metadata: this.values.metadata[row] }));
  }

  async show(image, row) {
    const data = this.values.thumbnails[row];
    if (data) image.src = data;
    else image.removeAttribute("src");
  }

  async csv(rows) {
    const { csv } = this.values; // its first line has the names of the columns
    return new Blob([csv[0], ...rows.map((row) => csv[row + 1])], { type: "text/csv" });
  }
}

function card(picture, source) {
  const image = make("img", { alt: picture.name, loading: "lazy" });
  source.show(image, picture.row);
  const facts = Object.entries(picture.metadata).map(([name, value]) => `${name}: ${value}`).join(" · ");
  return make("figure", { className: "card" }, image, make("figcaption", {}, make("b", { textContent: picture.name, title: picture.name }), make("span", { className: "soft small", textContent: facts })));
}

const values = JSON.parse(document.getElementById("map-data").textContent);
const view = new MapView(document.getElementById("collection-map"), { onState: remember, card, attempt });
const names = ["color", "at", "pick"];

// The part of the address after # holds the state: a file has no other.
function remember() {
  const state = new URLSearchParams(Object.entries(view.state).filter(([name, value]) => names.includes(name) && value));
  const text = state.toString();
  if (text !== location.hash.slice(1)) history.replaceState(null, "", text ? `#${text}` : location.pathname);
}

const at = Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
document.getElementById("count").textContent = counted(values.n_pictures, "picture");
attempt(() => view.open({ ...at, layout: "", source: new FileMap(values) }));
