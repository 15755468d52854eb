// A search: its request from the settings, its hits on the grid, its report.

import { galleryPath, post } from "./api.js";
import { regionText } from "./address.js";
import { byId, saveAs } from "./dom.js";
import { fitRanges, hitCard, skeletons } from "./results.js";
import { attempt, duration, setBar, showMessage } from "./messages.js";
import { askedWords } from "./words.js";

const OWN_METHOD = new Set(["avsl", "transport"]); // re-rankers whose score a method of the same name explains

export const IN_GALLERY = /^[0-9a-f]{20}$/; // the id of a picture of the gallery; those of uploads are longer

export class SearchView {
  constructor({ panel, words, desk, onCompare, onChoose, verdicts }) {
    Object.assign(this, { panel, words, desk, onCompare, onChoose, verdicts, running: new AbortController(), found: null });
    byId("report").onclick = () => this.#exportReport();
  }

  stop() {
    this.running.abort();
    this.found = null;
  }

  // Search in a gallery with a query's id, or null for words alone; `hasProbabilities` says whether whole pictures have them.
  async run(gallery, query, hasProbabilities) {
    const hadFocus = byId("grid").contains(document.activeElement); // its cards are about to go
    this.running.abort();
    this.running = new AbortController();
    const { signal } = this.running, request = this.#request(query);
    const heading = `Matches${askedWords(request)}`;
    setBar(heading, "Searching…");
    byId("more").hidden = true;
    byId("grid").setAttribute("aria-busy", "true");
    if (!byId("grid").querySelector(".hit")) byId("grid").replaceChildren(...skeletons(8));
    await attempt(async () => {
      const found = await (await post(galleryPath(gallery, "/search"), request, { signal })).json();
      const method = found.asked ? "words" : OWN_METHOD.has(found.rerank) ? found.rerank : "shares"; // the one that made the order
      const path = (hit, options) => explanationPath(gallery, method, request, hit, options);
      this.#show({ ...found, gallery, request, method, explanationPath: path }, hasProbabilities);
      if (hadFocus) byId("heading").focus();
    }, () => this.#empty());
    if (!signal.aborted) byId("grid").removeAttribute("aria-busy");
  }

  #request(query) {
    const minSimilarity = Number(byId("min-similarity").value), region = query ? this.panel.regions.region : null, { asked } = this.words;
    const learn = byId("learn").checked && this.found?.query && !asked.text && !asked.unlike ? this.desk.examples(this.content ?? "", region) : {};
    return {
      query,
      k: Math.max(1, Math.min(200, Number(byId("k").value) || 24)),
      box: region?.box ?? null,
      polygon: region?.polygon ?? null,
      rerank: byId("rerank").value || null,
      where: byId("where").value.trim() || null,
      min_similarity: minSimilarity < 0 ? null : minSimilarity,
      leave_self_out: IN_GALLERY.test(query ?? ""), // an upload that the gallery holds is its best match
      ...asked,
      ...learn,
    };
  }

  #show(found, hasProbabilities) {
    this.found = found;
    this.content = found.query_content;
    Object.assign(found, { drawn: new Map(), matchMaps: new Map(), onLimits: (limits) => this.found === found && showLimits(limits) });
    if (found.query) this.panel.regions.setSize(found.query);
    this.panel.clearMap();
    const { hits, seconds, request } = found;
    const handlers = {
      onCompare: (hit) => this.onCompare(found, hit),
      onChoose: this.onChoose,
      onHover: (hit) => (hit?.query_map.length ? this.panel.showMap(hit.query_map, found.query_geometry, found.limits.query) : this.panel.clearMap()),
      onUnlike: this.words.isOffered ? (hit) => this.words.addUnlike(hit.id, hit.name) : null,
      verdicts: found.query ? (hit, seen) => this.verdicts({ search: found, hit }, seen) : null,
    };
    byId("grid").replaceChildren(...hits.map((hit) => hitCard(found, hit, handlers)));
    const isRegion = Boolean(request.box || request.polygon), liked = request.liked?.length ?? 0, disliked = request.disliked?.length ?? 0;
    setBar(`Matches${askedWords(request)}`, `${hits.length} in ${duration(seconds)}`);
    for (const id of ["legend", "all-heat", "report"]) byId(id).hidden = !hits.length;
    fitRanges(found);
    byId("all-heat").setAttribute("aria-pressed", "false");
    byId("no-probability").hidden = !((isRegion || found.asked) && hasProbabilities && hits.some((hit) => hit.probability === null));
    byId("no-verdicts").hidden = Boolean(found.query) || !hits.length;
    byId("examples").hidden = !(liked + disliked);
    byId("examples").textContent = `Searched with your verdicts as examples: ${liked} the same, ${disliked} different. Similarities include them.`;
    if (found.unreadable.length) showMessage(`Ranked as if no cells matched, since they can't be read: ${found.unreadable.join(", ")}`);
    if (!hits.length) showMessage("No match. Lower the minimum similarity or relax the filter.");
  }

  #empty() {
    this.panel.clearMap();
    byId("grid").replaceChildren();
    byId("count").textContent = "";
  }

  async #exportReport() {
    byId("report").disabled = true;
    byId("report").textContent = "Writing the report…";
    await attempt(async () => {
      const { gallery, request } = this.found;
      await saveAs(await (await post(galleryPath(gallery, "/report"), request)).blob(), "lookalike-report.html");
    });
    byId("report").disabled = false;
    byId("report").textContent = "Export report";
  }
}

function explanationPath(gallery, method, request, hit, options = {}) {
  if (method === "words") return wordsPath(gallery, request, hit);
  const parameters = new URLSearchParams({ query: request.query, match: hit.id, method, ...regionOption(request), ...options });
  for (const name of ["liked", "disliked"]) for (const id of request[name] ?? []) parameters.append(name, id);
  return galleryPath(gallery, `/explanation?${parameters}`);
}

function wordsPath(gallery, request, hit) {
  const { query, text, weight, unlike = [] } = request;
  const parameters = new URLSearchParams({ match: hit.id, ...(query && { query }), ...(text && { text }), ...(weight && { weight }), ...regionOption(request) });
  for (const what of unlike) parameters.append("unlike", what);
  return galleryPath(gallery, `/explanation/words?${parameters}`);
}

// The region of a request as a parameter of other routes.
export function regionOption({ box, polygon }) {
  return box ? { box: regionText({ box }) } : polygon ? { polygon: regionText({ polygon }) } : {};
}

// One range, or one for the query and one for the hits, with the reason.
function showLimits({ query, match }) {
  const isOne = query === match;
  byId("legend").hidden = !match;
  byId("legend-low").textContent = isOne ? `−${match.toFixed(3)}` : "−";
  byId("legend-high").textContent = isOne ? `+${match.toFixed(3)} per 1%` : `+ per 1%, to ${query.toFixed(3)} on the query, ${match.toFixed(3)} on the matches: in one range one side would be blank`;
}
