// The data of a map from the server.

import { bytesOf, galleryPath, getJson, post, showPicture } from "./api.js";
import { MapPoints } from "./map/points.js";

const ASKED_AT_ONCE = 60; // pictures
const SENT_AT_ONCE = 20_000; // ids
const REMEMBERED = 5000; // pictures

export class ServerMap {
  constructor(gallery) {
    Object.assign(this, { gallery, known: new Map() });
  }

  async load(layout) {
    const about = await getJson(this.#path("", layout && { layout }));
    this.about = about;
    this.known = new Map();
    this.points = new MapPoints(await bytesOf(this.#path("/points", this.#asked())), about.n_pictures);
    return { ...about, points: this.points };
  }

  // Which rows pass a filter, as of a search: a Uint8Array with 1 for those that do.
  async passing(where) {
    const bits = new Uint8Array(await bytesOf(this.#path("/passing", { ...this.#asked(), where })));
    return Uint8Array.from({ length: this.points.n }, (_, row) => (bits[row >> 3] >> (row & 7)) & 1);
  }

  column(field) {
    return getJson(this.#path("/column", { ...this.#asked(), field }));
  }

  // Pictures of rows, in their order; of one row without waiting where it is known.
  async pictures(rows) {
    const missing = rows.filter((row) => !this.known.has(row)), { known } = this;
    for (const part of pieces(missing, ASKED_AT_ONCE)) {
      const found = await getJson(this.#path("/pictures", part.map((row) => ["id", this.points.id(row)])));
      if (known.size > REMEMBERED) known.clear();
      for (const picture of found) known.set(this.points.rowOf(picture.id), picture);
    }
    return rows.map((row) => known.get(row)).filter(Boolean);
  }

  show(image, row, side) {
    return showPicture(image, this.gallery, this.points.id(row), side).catch(() => {});
  }

  async csv(rows) {
    const texts = [];
    for (const part of pieces(rows, SENT_AT_ONCE)) {
      const answer = await post(this.#path("/csv"), { ids: this.#ids(part), layout: this.about.layout });
      const text = await answer.text();
      texts.push(texts.length ? text.slice(text.indexOf("\n") + 1) : text); // the names of columns come once
    }
    return new Blob(texts, { type: "text/csv" });
  }

  async tag(rows, add, remove) {
    let n = 0;
    for (const part of pieces(rows, SENT_AT_ONCE)) {
      n += (await (await post(galleryPath(this.gallery, "/tags"), { ids: this.#ids(part), add, remove })).json()).n_changed;
    }
    return n;
  }

  #ids(rows) {
    return rows.map((row) => this.points.id(row));
  }

  #asked() {
    return { layout: this.about.layout, key: this.about.key };
  }

  #path(rest, parameters) {
    return galleryPath(this.gallery, `/map${rest}${parameters ? `?${new URLSearchParams(parameters)}` : ""}`);
  }
}

const pieces = (rows, n) => Array.from({ length: Math.ceil(rows.length / n) }, (_, i) => rows.slice(i * n, (i + 1) * n));
