// The page: its state, its searches, and the views that show them.

import { getJson, post, Refused, upload } from "./api.js";
import { CompareView } from "./compare.js";
import { drawLegend, loadPalette } from "./heat.js";
import { QueryPanel } from "./query.js";
import { browseCard, hitCard, skeletons, walkWithArrows } from "./results.js";

const PAGE = 60;
const at = (id) => document.getElementById(id);
const state = { gallery: "", query: null, box: null, search: null, health: null, galleries: [], shown: 0 };
let running = new AbortController();

const panel = new QueryPanel({ onFile: uploadAndSearch, onBox: searchByBox, onClear: clear });
const compare = new CompareView({});
compare.onClose = (hit) => document.querySelector(`.card[data-id="${hit?.id}"]`)?.focus();

async function start() {
  state.health = await getJson("/health");
  [state.galleries] = await Promise.all([getJson("/galleries"), loadPalette()]);
  drawLegend(at("legend-colors"));
  at("gallery").replaceChildren(...state.galleries.map(({ name }) => new Option(name)));
  at("rerank").append(...state.health.rerankers.map((name) => new Option(name)));
  at("gallery").parentElement.hidden = state.galleries.length < 2;
  await enter(state.galleries[0].name);
}

async function enter(name) {
  state.gallery = name;
  const { n_images, model, metadata_fields } = state.galleries.find((gallery) => gallery.name === name);
  at("about").textContent = `${state.galleries.length < 2 ? `${name} · ` : ""}${n_images.toLocaleString()} pictures · ${model}`;
  const fields = Object.keys(metadata_fields);
  at("where").placeholder = fields.length ? `${fields[0]} == "…"` : "no fields to filter by";
  at("where").disabled = !fields.length;
  at("fields").textContent = fields.length ? `Fields: ${fields.join(", ")}` : "";
  await clear();
}

// --- browsing ---------------------------------------------------------------------------------

async function clear() {
  running.abort();
  Object.assign(state, { query: null, box: null, search: null, shown: 0 });
  panel.hide();
  setBar("Gallery", "Click a picture to find what matches it.");
  at("grid").replaceChildren(...skeletons(12));
  await attempt(async () => {
    const cards = await nextCards();
    at("grid").replaceChildren(...cards);
    if (!cards.length) say("This gallery is empty. Index some pictures first: lookalike index FOLDER -g GALLERY");
  });
}

async function nextCards() {
  const path = `/galleries/${encodeURIComponent(state.gallery)}/pictures?offset=${state.shown}&limit=${PAGE}`;
  const { total, pictures } = await getJson(path);
  state.shown += pictures.length;
  at("more").hidden = state.shown >= total || Boolean(state.query);
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
    const most = state.health.max_upload_bytes;
    if (file.size > most) throw new Refused(`${file.name} is larger than ${Math.round(most / 2 ** 20)} MB; send a smaller picture.`);
    say("Uploading…");
    const picture = await upload(file);
    say("");
    await choose(picture);
  }, { keeps: true });
}

function searchByBox(box) {
  state.box = box;
  return search();
}

function asked() {
  const least = Number(at("least").value);
  return {
    query: state.query.id,
    k: Math.max(1, Math.min(200, Number(at("k").value) || 24)),
    box: state.box,
    rerank: at("rerank").value || null,
    where: at("where").value.trim() || null,
    min_similarity: least < 0 ? null : least,
    leave_self_out: true,
  };
}

async function search() {
  if (!state.query) return;
  running.abort();
  running = new AbortController();
  const { signal } = running;
  const { gallery } = state, request = asked();
  setBar(state.box ? "Matches of this region" : "Matches", "searching…");
  at("more").hidden = true;
  at("grid").setAttribute("aria-busy", "true");
  if (!at("grid").querySelector(".hit")) at("grid").replaceChildren(...skeletons(8));
  await attempt(async () => {
    const found = await (await post(`/galleries/${encodeURIComponent(gallery)}/search`, request, { signal })).json();
    show({ ...found, gallery, request, explanationPath: (hit) => explanationPath(gallery, request, hit) });
  });
  if (!signal.aborted) at("grid").removeAttribute("aria-busy");
}

function explanationPath(gallery, { query, box, rerank }, hit) {
  const method = rerank === "avsl" ? "avsl" : "shares"; // the method that made the order explains it
  const parameters = new URLSearchParams({ query, match: hit.id, method, ...(box && { box: box.join(",") }) });
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
  at("grid").replaceChildren(...hits.map((hit) => hitCard(found, hit, handlers)));
  setBar(state.box ? "Matches of this region" : "Matches", `${hits.length} in ${(seconds * 1000).toFixed(0)} ms`);
  for (const id of ["legend", "all-heat", "report"]) at(id).hidden = !hits.length;
  showLimit(found.limit);
  at("all-heat").setAttribute("aria-pressed", "false");
  at("no-probability").hidden = !(state.box && state.galleries.some(({ name, has_probabilities }) => name === found.gallery && has_probabilities));
  if (!hits.length) say("No good match. Lower the minimum similarity or relax the filter.");
}

function showLimit(limit) {
  at("legend-low").textContent = `−${limit.toFixed(3)}`;
  at("legend-high").textContent = `+${limit.toFixed(3)} per 1 %`;
}

async function exportReport() {
  at("report").disabled = true;
  at("report").textContent = "Writing the report…";
  await attempt(async () => {
    const { gallery, request } = state.search;
    const html = await (await post(`/galleries/${encodeURIComponent(gallery)}/report`, request)).blob();
    const link = document.createElement("a");
    link.href = URL.createObjectURL(html);
    link.download = "lookalike-report.html";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
  at("report").disabled = false;
  at("report").textContent = "Export report";
}

// --- messages ---------------------------------------------------------------------------------

function setBar(heading, count) {
  at("heading").textContent = heading;
  at("count").textContent = count;
  for (const id of ["legend", "all-heat", "report", "message", "no-probability"]) at(id).hidden = true;
}

function say(text, isError = false) {
  at("message").textContent = text;
  at("message").hidden = !text;
  at("message").classList.toggle("error", isError);
}

// A failure empties the grid, unless the current results are still valid.
async function attempt(work, { keeps = false } = {}) {
  try {
    await work();
  } catch (error) {
    if (error.name === "AbortError") return;
    if (!keeps) {
      panel.clearMap();
      at("grid").replaceChildren();
      at("count").textContent = "";
    }
    say(error instanceof Refused ? error.message : "Something went wrong in this page; reload it.", true);
    if (!(error instanceof Refused)) throw error;
  }
}

// --- controls ---------------------------------------------------------------------------------

function showAllHeat() {
  const isOn = at("all-heat").getAttribute("aria-pressed") !== "true";
  at("all-heat").setAttribute("aria-pressed", String(isOn));
  for (const why of document.querySelectorAll(`.why[aria-pressed="${!isOn}"]`)) why.click();
}

function switchTheme() {
  const isDark = getComputedStyle(document.documentElement).colorScheme === "dark";
  document.documentElement.dataset.theme = localStorage.theme = isDark ? "light" : "dark";
}

if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
at("theme").onclick = switchTheme;
at("gallery").onchange = () => enter(at("gallery").value);
at("more").onclick = () => attempt(async () => at("grid").append(...(await nextCards())));
at("report").onclick = exportReport;
at("all-heat").onclick = showAllHeat;
at("least").oninput = () => (at("least-shown").textContent = at("least").value < 0 ? "any" : Number(at("least").value).toFixed(2));
at("settings").onchange = search;
at("settings").onsubmit = (event) => event.preventDefault();
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !document.querySelector("dialog[open]") && panel.box) panel.setBox(null);
});
at("options").open = !matchMedia("(max-width: 820px)").matches;
walkWithArrows(at("grid"));
const ready = attempt(start);
