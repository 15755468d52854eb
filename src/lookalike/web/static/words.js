// What is asked for in words, alone or beside a picture, and what hits should not look like.

import { showPicture } from "./api.js";
import { button, byId, element } from "./dom.js";

const MOST_UNLIKE = 8; // that a search takes
const THUMBNAIL = 64; // longer side in pixels
const EVEN = 50; // percent

const isPictureId = (text) => /^([0-9a-f]{20}|[0-9a-f]{32})$/.test(text);

export class WordsPanel {
  constructor({ onSearch, onPicture }) {
    Object.assign(this, { onSearch, gallery: "", isOffered: false, unlike: [], names: new Map(), isBeside: false });
    byId("words").onsubmit = (event) => {
      event.preventDefault();
      this.#addWords(false);
      onSearch();
    };
    byId("text").addEventListener("search", () => !byId("text").value && onSearch()); // its cross was pressed
    byId("weight").oninput = () => this.#showWeight();
    byId("weight").onchange = () => onSearch();
    byId("add-unlike").onclick = () => this.#addWords(true);
    byId("unlike-picture").onclick = () => byId("unlike-file").click();
    byId("unlike-file").onchange = () => {
      const [file] = byId("unlike-file").files;
      byId("unlike-file").value = "";
      if (file) onPicture(file);
    };
  }

  get text() {
    return this.isOffered ? byId("text").value.trim() : "";
  }

  // Offer the field where the gallery's model answers words, and say so where it does not.
  enter({ name, model, answers_words: isOffered }) {
    if (this.gallery !== name) this.unlike = this.unlike.filter((each) => !isPictureId(each)); // they are of the other gallery
    Object.assign(this, { gallery: name, isOffered });
    byId("words").classList.toggle("panel", isOffered);
    byId("words-fields").hidden = !isOffered;
    byId("no-words").hidden = isOffered;
    byId("no-words").textContent = `This gallery can't be searched by words: its model, ${model}, reads pictures only.`;
    this.#draw();
  }

  set({ text, weight, unlike }) {
    byId("text").value = text ?? "";
    byId("weight").value = Math.round((Number(weight) || EVEN / 100) * 100);
    this.unlike = [...(unlike ?? [])].slice(0, MOST_UNLIKE);
    byId("unlike-options").open = this.unlike.length > 0;
    this.#draw();
  }

  // Whether a picture is searched with as well: then the words have a weight.
  setBeside(isBeside) {
    this.isBeside = isBeside;
    this.#draw();
  }

  // The part of a search's request, and of the page's address, that is asked here.
  get asked() {
    if (!this.isOffered) return {};
    const weight = Number(byId("weight").value) / 100;
    return {
      ...(this.text && { text: this.text }),
      ...(this.text && this.isBeside && { weight }),
      ...(this.unlike.length && { unlike: [...this.unlike] }),
    };
  }

  // Words or the id of a picture, with its name.
  addUnlike(what, name = "") {
    if (this.unlike.includes(what) || this.unlike.length >= MOST_UNLIKE) return;
    this.unlike.push(what);
    this.names.set(what, name);
    byId("unlike-options").open = true;
    this.#draw();
    this.onSearch();
  }

  #addWords(isSearched) {
    const words = byId("unlike-text").value.trim();
    byId("unlike-text").value = "";
    if (!words || this.unlike.includes(words) || this.unlike.length >= MOST_UNLIKE) return;
    this.unlike.push(words);
    this.#draw();
    if (isSearched) this.onSearch();
  }

  #remove(what) {
    this.unlike = this.unlike.filter((each) => each !== what);
    this.#draw();
    byId("unlike-text").focus();
    this.onSearch();
  }

  #showWeight() {
    const percent = byId("weight").value, text = `${percent} % words, ${100 - percent} % picture`;
    byId("weight-value").textContent = `${percent} %`;
    byId("weight").setAttribute("aria-valuetext", text);
  }

  #draw() {
    this.#showWeight();
    byId("weight").parentElement.hidden = !(this.isBeside && this.text);
    for (const id of ["unlike-text", "add-unlike", "unlike-picture"]) byId(id).disabled = this.unlike.length >= MOST_UNLIKE;
    byId("unlike").hidden = !this.unlike.length;
    byId("unlike").replaceChildren(...this.unlike.map((what) => this.#chip(what)));
  }

  #chip(what) {
    const chip = element("span", "unlike-chip"), name = isPictureId(what) ? this.names.get(what) || "a picture" : what;
    if (isPictureId(what)) {
      const image = element("img");
      image.alt = "";
      showPicture(image, this.gallery, what, THUMBNAIL).catch(() => image.remove());
      chip.append(image);
    }
    const remove = button("quiet", "✕", `Not “${name}” any more`, () => this.#remove(what));
    remove.setAttribute("aria-label", `Remove ${name}`);
    chip.append(element("span", "name", name), remove);
    return chip;
  }
}

// What a request asks for, as a heading says it.
export function askedWords({ query, box, polygon, text, unlike = [] }) {
  const picture = box || polygon ? "this region" : text ? "the picture" : "";
  const wanted = [query && picture, text && `“${text}”`].filter(Boolean).join(" and ");
  const words = unlike.filter((each) => !isPictureId(each)).map((each) => `“${each}”`), pictures = unlike.length - words.length;
  const unwanted = [...words, pictures && (pictures > 1 ? `${pictures} pictures` : "a picture")].filter(Boolean).join(" or ");
  return [wanted && ` for ${wanted}`, unwanted && `, not like ${unwanted}`].filter(Boolean).join("");
}
