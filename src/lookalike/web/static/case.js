// The case: its pairs and what is decided about them. A subject is a hit of a search, or a pair of the case.

import { blobOf, galleryPath, getJson, post } from "./api.js";
import { regionText } from "./address.js";
import { byId, saveAs } from "./dom.js";

export const VERDICTS = ["same", "different", "unsure"];

const regionKey = ({ box, polygon }) => (box || polygon ? regionText({ box, polygon }) : "");
const keyOf = (content, region, hit) => `${content} ${region} ${hit}`;

export class CaseDesk {
  constructor({ onChange, onError }) {
    Object.assign(this, { onChange, onError, gallery: "", name: "", person: "", pairs: new Map(), last: Promise.resolve() });
    byId("person").value = localStorage.person ?? "";
    byId("person").onchange = () => (localStorage.person = byId("person").value.trim());
  }

  get list() {
    return [...this.pairs.values()];
  }

  // Show a gallery's cases, and open one of them by name, or none.
  async enter(gallery, name, person) {
    Object.assign(this, { gallery, person });
    byId("person").parentElement.hidden = Boolean(person);
    this.cases = await getJson(galleryPath(gallery, "/cases"));
    await this.open(this.cases.some((each) => each.name === name && !each.damage) ? name : "");
  }

  async open(name) {
    this.name = name;
    const options = [new Option("none yet", ""), ...this.cases.map(optionOf), new Option("New case…", "+")];
    byId("case").replaceChildren(...options);
    byId("case").value = name;
    const damaged = this.cases.filter((each) => each.damage);
    byId("case-damage").textContent = damaged.map((each) => `${each.name}: ${each.damage}`).join("\n");
    byId("case-damage").hidden = !damaged.length;
    await this.#read();
  }

  async begin(name) {
    const made = await (await post(galleryPath(this.gallery, "/cases"), { name })).json();
    if (!this.cases.some((each) => each.name === made.name)) this.cases.push(made);
    await this.open(made.name);
  }

  // The pair that a subject is in the case; undefined before anything was decided about its search.
  pairOf({ pair, search, hit }) {
    if (pair) return this.pairs.get(keyOf(pair.query.sha256.slice(0, 20), regionKey(pair), pair.hit.id));
    return this.pairs.get(keyOf(search.query_content, regionKey(search.request), hit.id));
  }

  // What was decided about the hits of a search, as examples for the next one.
  examples(content, region) {
    const mine = this.list.filter((pair) => pair.query.sha256.startsWith(content) && regionKey(pair) === regionKey(region ?? {}));
    const of = (verdict) => mine.filter((pair) => pair.verdict === verdict).map((pair) => pair.hit.id);
    return { liked: of("same"), disliked: of("different") };
  }

  // One after the other, in the order of the clicks; a second click on a verdict takes it back.
  decide(subject, changes) {
    this.last = this.last.then(() => this.#decide(subject, changes)).catch(this.onError);
    return this.last;
  }

  async #decide(subject, { verdict, ...others }) {
    if (!this.name) await this.begin(freshName(this.cases));
    const known = this.pairOf(subject);
    const about = known ? { pair: known.id } : { search: subject.search.request, hit: subject.hit.id };
    const taken = verdict && known?.verdict === verdict ? "undecided" : verdict;
    const body = { ...about, ...others, ...(taken && { verdict: taken }), who: this.person || byId("person").value.trim() };
    const pair = await (await post(this.#path("/decisions"), body)).json();
    if (known) this.#keep([pair]);
    else await this.#read();
    this.onChange(pair, subject);
  }

  undo() {
    this.last = this.last.then(async () => {
      if (!this.name) return;
      const who = this.person || byId("person").value.trim() || null;
      const pair = await (await post(this.#path("/undo"), { who })).json();
      this.#keep([pair]);
      this.onChange(pair);
    }).catch(this.onError);
    return this.last;
  }

  async exportReport() {
    await this.last;
    await saveAs(await blobOf(this.#path("/report")), `${this.name}.html`);
  }

  #path(rest) {
    return galleryPath(this.gallery, `/cases/${encodeURIComponent(this.name)}${rest}`);
  }

  // A case may hold thousands: what depends on all of them is done once for all that came.
  #keep(pairs) {
    for (const pair of pairs) this.pairs.set(keyOf(pair.query.sha256.slice(0, 20), regionKey(pair), pair.hit.id), pair);
    this.#count();
  }

  async #read() {
    this.pairs = new Map();
    this.#keep(this.name ? (await getJson(this.#path(""))).pairs : []);
    this.onChange(null);
  }

  #count() {
    const decided = this.list.filter((pair) => pair.verdict).length;
    byId("case-count").textContent = this.name ? `${decided} of ${this.pairs.size} decided` : "A case begins with the first verdict.";
    for (const id of ["undo", "show-case", "export-case"]) byId(id).hidden = !this.name;
  }
}

function optionOf({ name, damage }) {
  const option = new Option(damage ? `${name} (can't be read)` : name, name);
  option.disabled = Boolean(damage);
  return option;
}

function freshName(cases) {
  const today = new Date(), two = (value) => String(value).padStart(2, "0");
  const base = `${today.getFullYear()}-${two(today.getMonth() + 1)}-${two(today.getDate())}`;
  const taken = new Set(cases.map(({ name }) => name));
  for (let n = 1; ; n++) {
    const name = n === 1 ? base : `${base} ${n}`;
    if (!taken.has(name)) return name;
  }
}
