// The pictures that are selected on a map: as cards, to be tagged, and to be saved as a table.

import { counted, make } from "./make.js";

const PAGE = 60; // cards
const FIELD = "tags"; // of the metadata

export class MapSelection {
  constructor({ card, onClear, onTagged }) {
    Object.assign(this, { card, onTagged, rows: [], shown: 0 });
    this.heading = make("h2", { tabIndex: -1 });
    this.tags = make("input", { type: "text", maxLength: 600, placeholder: "Tags, separated by commas", label: "Tags, separated by commas" });
    this.note = make("p", { className: "soft small" });
    this.note.setAttribute("role", "status");
    const save = make("button", { textContent: "Save as CSV", onclick: () => this.#run(save, () => this.#save()) });
    const add = make("button", { textContent: "Tag", onclick: () => this.#run(add, () => this.#tag("add")) });
    const remove = make("button", { textContent: "Remove tag", onclick: () => this.#run(remove, () => this.#tag("remove")) });
    this.tags.onkeydown = (event) => event.key === "Enter" && add.click();
    this.tagging = make("span", { className: "map-tagging" }, this.tags, add, remove);
    this.grid = make("div", { className: "grid" });
    this.more = make("button", { textContent: "Show more", className: "map-more", onclick: () => this.#next() });
    this.root = make("section", { className: "map-selection", hidden: true, label: "Selected pictures" },
      make("div", { className: "bar" }, this.heading, this.tagging, make("span", { className: "tools" }, save, make("button", { textContent: "Clear selection", onclick: onClear }))),
      this.note, this.grid, this.more);
  }

  async show(rows, source) {
    const isSame = this.source === source && this.isTagging;
    Object.assign(this, { rows, source, shown: 0 });
    this.root.hidden = !rows.length;
    this.tagging.hidden = !source.tag;
    this.heading.textContent = `${counted(rows.length, "picture")} selected`;
    if (!isSame) this.note.textContent = "";
    this.grid.replaceChildren();
    if (rows.length) await this.#next();
  }

  async #next() {
    const { rows, source } = this, next = rows.slice(this.shown, this.shown + PAGE);
    this.shown += next.length;
    this.more.hidden = this.shown >= rows.length;
    const pictures = await source.pictures(next);
    if (this.rows === rows) this.grid.append(...pictures.map((picture) => this.card(picture, source)));
  }

  async #save() {
    const link = make("a", { href: URL.createObjectURL(await this.source.csv(this.rows)), download: "selection.csv" });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  }

  async #tag(how) {
    const tags = this.tags.value.split(",").map((tag) => tag.trim()).filter(Boolean);
    if (!tags.length) return this.tags.focus();
    const n = await this.source.tag(this.rows, how === "add" ? tags : [], how === "remove" ? tags : []);
    this.isTagging = true;
    await this.onTagged();
    this.isTagging = false;
    this.tags.value = "";
    const names = tags.map((tag) => `“${tag}”`).join(", ");
    this.note.textContent = how === "add" ? `${counted(n, "picture")} tagged ${names}. Find them again with the filter "${tags[0]}" in ${FIELD}.` : `${names} taken from ${counted(n, "picture")}.`;
  }

  // Work that a button began; it can't be pressed again meanwhile, and keeps the focus.
  async #run(button, work) {
    if (button.getAttribute("aria-busy")) return;
    button.setAttribute("aria-busy", "true");
    try {
      await work();
    } catch (error) {
      this.note.textContent = error.message;
    } finally {
      button.removeAttribute("aria-busy");
    }
  }
}
