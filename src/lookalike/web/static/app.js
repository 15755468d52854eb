// The page: its state, the search settings, and the views that show the results.

import { getJson, post, RequestError, upload } from "./api.js";
import { CompareView } from "./compare.js";
import { drawLegend, loadPalette } from "./heat.js";
import { QueryPanel } from "./query.js";
import { browseCard, hitCard, skeletons, addArrowKeys } from "./results.js";

const PAGE_SIZE = 60;
const OWN_METHOD = new Set(["avsl", "transport"]); // re-rankers whose score a method of the same name explains
const byId = (id) => document.getElementById(id);
const state = { gallery: "", query: null, box: null, search: null, health: null, galleries: [], shown: 0 };
let running = new AbortController();

const panel = new QueryPanel({ onFile: uploadAndSearch, onBox: searchByBox, onClear: clear });
const compare = new CompareView({});
compare.onClose = (hit) => document.querySelector(`.card[data-id="${hit?.id}"]`)?.focus();

async function start() {
  state.health = await getJson("/health");
  [state.galleries] = await Promise.all([getJson("/galleries"), loadPalette()]);
  drawLegend(byId("legend-colors"));
  byId("gallery").replaceChildren(...state.galleries.map(({ name }) => new Option(name)));
  byId("rerank").append(new Option("none"), ...state.health.rerankers.map((name) => new Option(name)));
  byId("gallery").parentElement.hidden = state.galleries.length < 2;
  await enter(state.galleries[0].name);
}

async function enter(name) {
  state.gallery = name;
  const { n_images, model, infers_distance, metadata_fields } = state.galleries.find((gallery) => gallery.name === name);
  byId("about").textContent = `${state.galleries.length < 2 ? `${name} · ` : ""}${n_images.toLocaleString()} pictures · ${model}`;
  byId("rerank").options[0].text = infers_distance ? "as the model: avsl, regions by cosine" : "none";
  byId("rerank").options[1].hidden = !infers_distance;
  const fields = Object.keys(metadata_fields);
  byId("where").placeholder = fields.length ? `${fields[0]} == "…"` : "this gallery has no metadata";
  byId("where").disabled = !fields.length;
  byId("fields").textContent = fields.length ? `Fields: ${fields.join(", ")}` : "";
  await clear();
}

// --- browsing ---------------------------------------------------------------------------------

async function clear() {
  running.abort();
  Object.assign(state, { query: null, box: null, search: null, shown: 0 });
  panel.hide();
  setBar("Gallery", "Click a picture to search with it.");
  byId("grid").replaceChildren(...skeletons(12));
  await attempt(async () => {
    const cards = await nextCards();
    byId("grid").replaceChildren(...cards);
    const isFiltered = Boolean(byId("where").value.trim());
    if (isFiltered) byId("count").textContent = "Pictures that pass the filter; click one to search with it.";
    if (!cards.length) showMessage(isFiltered ? "No picture passes the filter." : "This gallery is empty. Add pictures with: lookalike index FOLDER -g GALLERY");
  });
}

async function nextCards() {
  const where = byId("where").value.trim();
  const parameters = new URLSearchParams({ offset: state.shown, limit: PAGE_SIZE, ...(where && { where }) });
  const { total, pictures } = await getJson(`/galleries/${encodeURIComponent(state.gallery)}/pictures?${parameters}`);
  state.shown += pictures.length;
  byId("more").hidden = state.shown >= total || Boolean(state.query);
  return pictures.map((picture) => browseCard(state.gallery, picture, choose));
}

// --- searching --------------------------------------------------------------------------------

function choose({ id, name }) {
  state.query = { id, name };
  state.box = null;
  panel.show(state.gallery, id, name);
  scrollTo({ top: 0 });
  return search();
}

function uploadAndSearch(file) {
  return attempt(async () => {
    await ready;
    const limit = state.health.max_upload_bytes;
    if (file.size > limit) throw new RequestError(`${file.name} is larger than ${Math.round(limit / 2 ** 20)} MiB; choose a smaller picture.`);
    showMessage("Uploading…");
    const picture = await upload(file);
    showMessage("");
    await choose(picture);
  }, { keepsGrid: true });
}

function searchByBox(box) {
  state.box = box;
  return search();
}

function searchRequest() {
  const minSimilarity = Number(byId("min-similarity").value);
  return {
    query: state.query.id,
    k: Math.max(1, Math.min(200, Number(byId("k").value) || 24)),
    box: state.box,
    rerank: byId("rerank").value || null,
    where: byId("where").value.trim() || null,
    min_similarity: minSimilarity < 0 ? null : minSimilarity,
    leave_self_out: true,
  };
}

async function search() {
  if (!state.query) return;
  const hadFocus = byId("grid").contains(document.activeElement); // its cards are about to go
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const { gallery } = state, request = searchRequest();
  setBar(state.box ? "Matches for this region" : "Matches", "Searching…");
  byId("more").hidden = true;
  byId("grid").setAttribute("aria-busy", "true");
  if (!byId("grid").querySelector(".hit")) byId("grid").replaceChildren(...skeletons(8));
  await attempt(async () => {
    const found = await (await post(`/galleries/${encodeURIComponent(gallery)}/search`, request, { signal })).json();
    const method = OWN_METHOD.has(found.rerank) ? found.rerank : "shares"; // the one that made the order
    show({ ...found, gallery, request, method, explanationPath: (hit, options) => explanationPath(gallery, method, request, hit, options) });
    if (hadFocus) byId("heading").focus();
  });
  if (!signal.aborted) byId("grid").removeAttribute("aria-busy");
}

function explanationPath(gallery, method, { query, box }, hit, options = {}) {
  const parameters = new URLSearchParams({ query, match: hit.id, method, ...(box && { box: box.join(",") }), ...options });
  return `/galleries/${encodeURIComponent(gallery)}/explanation?${parameters}`;
}

function show(found) {
  state.search = found;
  Object.assign(found, { drawn: new Map(), onLimit: (limit) => state.search === found && showLimit(limit) });
  panel.size = found.query;
  panel.clearMap();
  const { hits, seconds } = found;
  const handlers = {
    onCompare: (hit) => compare.open(found, hit),
    onChoose: choose,
    onHover: (hit) => (hit ? panel.showMap(hit.query_map, found.query_geometry, found.limit) : panel.clearMap()),
  };
  byId("grid").replaceChildren(...hits.map((hit) => hitCard(found, hit, handlers)));
  setBar(state.box ? "Matches for this region" : "Matches", `${hits.length} in ${(seconds * 1000).toFixed(0)} ms`);
  for (const id of ["legend", "all-heat", "report"]) byId(id).hidden = !hits.length;
  showLimit(found.limit);
  byId("all-heat").setAttribute("aria-pressed", "false");
  byId("no-probability").hidden = !(state.box && state.galleries.some(({ name, has_probabilities }) => name === found.gallery && has_probabilities));
  if (found.unreadable.length) showMessage(`Ranked as if no cells matched, since they can't be read: ${found.unreadable.join(", ")}`);
  if (!hits.length) showMessage("No match. Lower the minimum similarity or relax the filter.");
}

function showLimit(limit) {
  byId("legend-low").textContent = `−${limit.toFixed(3)}`;
  byId("legend-high").textContent = `+${limit.toFixed(3)} per 1%`;
}

async function exportReport() {
  byId("report").disabled = true;
  byId("report").textContent = "Writing the report…";
  await attempt(async () => {
    const { gallery, request } = state.search;
    const html = await (await post(`/galleries/${encodeURIComponent(gallery)}/report`, request)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(html);
    link.download = "lookalike-report.html";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
  byId("report").disabled = false;
  byId("report").textContent = "Export report";
}

// --- messages ---------------------------------------------------------------------------------

function setBar(heading, count) {
  byId("heading").textContent = heading;
  byId("count").textContent = count;
  for (const id of ["legend", "all-heat", "report", "message", "no-probability"]) byId(id).hidden = true;
}

function showMessage(text, isError = false) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
  byId("message").classList.toggle("error", isError);
}

// Run `work` and show its error; the grid is emptied unless `keepsGrid`.
async function attempt(work, { keepsGrid = false } = {}) {
  try {
    await work();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!keepsGrid) {
      panel.clearMap();
      byId("grid").replaceChildren();
      byId("count").textContent = "";
    }
    showMessage(error instanceof RequestError ? error.message : "Something went wrong on this page. Please reload it.", true);
    if (!(error instanceof RequestError)) throw error;
  }
}

// --- controls ---------------------------------------------------------------------------------

function showAllHeat() {
  const isOn = byId("all-heat").getAttribute("aria-pressed") !== "true";
  byId("all-heat").setAttribute("aria-pressed", String(isOn));
  for (const why of document.querySelectorAll(`.why[aria-pressed="${!isOn}"]`)) why.click();
}

function switchTheme() {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = localStorage.theme = isDark ? "light" : "dark";
}

if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
byId("theme").onclick = switchTheme;
byId("gallery").onchange = () => enter(byId("gallery").value);
byId("more").onclick = () => attempt(async () => byId("grid").append(...(await nextCards())));
byId("report").onclick = exportReport;
byId("all-heat").onclick = showAllHeat;
byId("min-similarity").oninput = () => {
  const value = Number(byId("min-similarity").value), text = value < 0 ? "any" : value.toFixed(2);
  byId("min-similarity-value").textContent = text;
  byId("min-similarity").setAttribute("aria-valuetext", text);
};
byId("settings").onchange = (event) => (state.query ? search() : event.target === byId("where") && clear());
byId("settings").onsubmit = (event) => event.preventDefault();
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]") && panel.box) panel.setBox(null);
});
byId("options").open = !matchMedia("(max-width: 820px)").matches;
addArrowKeys(byId("grid"));
const ready = attempt(start);
