// What is on the photograph: its regions that show a picture of the gallery, as boxes to search and decide by.

import { galleryPath, getJson, post } from "./api.js";
import { byId } from "./dom.js";
import { attempt } from "./messages.js";
import { chance } from "./results.js";
import { IN_GALLERY } from "./search.js";

const ASKED_EVERY = 1000; // ms

export class Finder {
  // `onFound` gets the regions with a match, best first.
  constructor({ onFound }) {
    this.onFound = onFound;
    this.running = new AbortController();
    byId("find").onclick = () => this.run();
  }

  // The photograph that is asked about; the answer to an earlier one is not shown.
  show(gallery, query) {
    this.stop();
    this.asked = { gallery, query };
  }

  stop() {
    this.running.abort();
    this.#say("");
  }

  async run() {
    this.running.abort();
    this.running = new AbortController();
    const { signal } = this.running, { gallery, query } = this.asked, where = byId("where").value.trim();
    byId("find").setAttribute("aria-busy", "true"); // a disabled button would lose the focus
    this.#say("Searching the photograph region by region…");
    const ticket = newTicket(), asking = setInterval(() => this.#follow(ticket, signal), ASKED_EVERY);
    await attempt(async () => {
      const request = { query, where: where || null, leave_self_out: IN_GALLERY.test(query), ticket };
      const { regions, searched } = await (await post(galleryPath(gallery, "/regions"), request, { signal })).json();
      const matches = regions.filter((region) => region.is_match);
      if (matches.length) await this.onFound(matches);
      if (!signal.aborted) this.#say(inWords(regions, matches, searched));
    }, () => this.#say(""));
    clearInterval(asking);
    if (!signal.aborted) byId("find").removeAttribute("aria-busy");
  }

  // Shows how far the search is. What is shown is not announced each second, as what is said would be.
  async #follow(ticket, signal) {
    const at = await getJson(`/progress/${ticket}`, { signal }).catch(() => null);
    if (!at?.total || signal.aborted || !byId("find").hasAttribute("aria-busy")) return;
    const [bar, words] = byId("finding").children;
    Object.assign(bar, { max: Math.max(1, at.total), value: at.done });
    const left = at.done < at.total && at.remaining !== null ? `, about ${Math.ceil(at.remaining)} s left` : "";
    words.textContent = `${at.stage}: ${at.done} of ${at.total}${left}`;
    byId("finding").hidden = false;
  }

  #say(text) {
    byId("finding").hidden = true;
    byId("found").textContent = text;
    byId("found").hidden = !text;
    if (!text) byId("find").removeAttribute("aria-busy");
  }
}

// Not randomUUID, which pages have over https or on this machine only.
function newTicket() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

function inWords(regions, matches, searched) {
  const named = matches.map(({ name, probability, others }) => `${[name, ...others].join(" or ")} (${chance(probability)})`);
  const left = regions.length - matches.length, more = left ? ` In ${left} more region${left > 1 ? "s" : ""} nothing is certain.` : "";
  if (matches.length) return `${matches.length === 1 ? "One picture of the gallery is" : `${matches.length} pictures of the gallery are`} on it: ${named.join(", ")}.${more}`;
  const best = Math.max(0, ...regions.map(({ probability }) => probability ?? 0));
  return `No picture of the gallery is surely on it (${searched} regions searched, the likeliest at ${chance(best)}). What is small or has little detail can be missed: draw a box around it.`;
}
