// The page: what is shown, its address, and the views that show it.

import { galleryPath, getJson, post, RequestError, upload } from "./api.js";
import { readAddress, writeAddress } from "./address.js";
import { CaseDesk } from "./case.js";
import { ordered, pairCard } from "./caseview.js";
import { CompareView } from "./compare.js";
import { byId, isForField } from "./dom.js";
import { drawLegend, loadPalette } from "./heat.js";
import { MapView } from "./map/view.js";
import { ServerMap } from "./mapsource.js";
import { attempt, setBar, showMessage } from "./messages.js";
import { QueryPanel } from "./query.js";
import { addArrowKeys, browseCard, skeletons, stepCard, visibleCards } from "./results.js";
import { SearchView } from "./search.js";
import { pressVerdict, refreshVerdicts, verdictRow } from "./verdicts.js";
import { WordsPanel } from "./words.js";

const PAGE_SIZE = 60;
const state = { gallery: "", query: null, view: "", galleries: [], health: null, shown: 0, pairs: [], turn: {} };

const panel = new QueryPanel({ onFile: uploadAndSearch, onSearch: () => search(true), onClear: dropQuery });
const words = new WordsPanel({ onSearch: () => (isAsked() ? search(true) : clear(true)), onPicture: uploadUnlike });
const desk = new CaseDesk({ onChange: onDecided, onError: (error) => attempt(() => Promise.reject(error)) });
const compare = new CompareView({ desk });
compare.onClose = (hit) => document.querySelector(`.card[data-id="${hit?.id}"]`)?.focus();
const searches = new SearchView({
  panel, words, desk, onCompare: (found, hit) => compare.open(found, hit), onChoose: choose,
  verdicts: (subject, seen) => verdictRow(desk, () => subject, seen),
});

const map = new MapView(byId("collection-map"), {
  attempt, onState: (isStep) => state.view === "map" && remember(isStep), card: (picture) => browseCard(state.gallery, picture, choose),
});

async function start() {
  state.health = await getJson("/health");
  [state.galleries] = await Promise.all([getJson("/galleries"), loadPalette()]);
  drawLegend(byId("legend-colors"));
  byId("gallery").replaceChildren(...state.galleries.map(({ name }) => new Option(name)));
  byId("rerank").append(new Option("none"), ...state.health.rerankers.map((name) => new Option(name)));
  byId("find-row").hidden = !state.health.rerankers.includes("geometry");
  byId("gallery").parentElement.hidden = state.galleries.length < 2;
  await restore();
}

// Show what the address says.
async function restore() {
  const at = readAddress();
  const name = state.galleries.some((gallery) => gallery.name === at.gallery) ? at.gallery : state.galleries[0].name;
  for (const id of ["where", "rerank"]) byId(id).value = at[id];
  byId("k").value = at.k || 24;
  byId("min-similarity").value = at.min || -0.05;
  byId("min-similarity").oninput();
  showUndecided(Boolean(at.undecided));
  await enter(name, at.case);
  words.set(at);
  if (at.view === "case" && desk.name) return showCase();
  if (at.view === "map") return showMap(false, at);
  state.query = at.query ? { id: at.query, name: "" } : null;
  if (!isAsked()) return clear();
  if (at.query) panel.show(state.gallery, state.query, at.regions, at.active);
  else panel.hide();
  await search();
  if (searches.found?.query) byId("query-name").textContent = byId("query-name").title = searches.found.query.name;
}

async function enter(name, caseName = "") {
  state.gallery = byId("gallery").value = name;
  const described = state.galleries.find((gallery) => gallery.name === name), { n_images, model, infers_distance, metadata_fields } = described;
  words.enter(described);
  byId("about").textContent = `${state.galleries.length < 2 ? `${name} · ` : ""}${n_images.toLocaleString()} pictures · ${model}`;
  byId("rerank").options[0].text = infers_distance ? "as the model: avsl, regions by cosine" : "none";
  byId("rerank").options[1].hidden = !infers_distance;
  const fields = Object.keys(metadata_fields);
  byId("where").placeholder = fields.length ? `${fields[0]} == "…"` : "no metadata here";
  byId("where").disabled = !fields.length;
  byId("fields").textContent = fields.length ? `Fields: ${fields.join(", ")}` : "";
  await desk.enter(name, caseName, state.health.person);
}

// Another gallery, with the same query; a picture of the gallery that was left becomes an upload.
function changeGallery() {
  return attempt(async () => {
    const { gallery, query } = state, { list, active } = panel.regions;
    if (query && /^[0-9a-f]{20}$/.test(query.id)) state.query = await (await post(galleryPath(gallery, `/pictures/${query.id}/query`), {})).json();
    await enter(byId("gallery").value);
    if (state.view === "map") return showMap(true);
    if (!isAsked()) return clear(true);
    if (query) panel.show(state.gallery, state.query, list, active);
    return search(true);
  });
}

function remember(isStep = false) {
  const minSimilarity = Number(byId("min-similarity").value), { list, active } = panel.regions;
  writeAddress({
    gallery: state.galleries.length > 1 ? state.gallery : "", query: state.query?.id, where: byId("where").value.trim(),
    rerank: byId("rerank").value, k: byId("k").value === "24" ? "" : byId("k").value, min: minSimilarity < 0 ? "" : minSimilarity,
    case: desk.name, view: state.view, undecided: byId("undecided").checked ? 1 : "", regions: list, active,
    ...(!state.view && words.asked), ...(state.view === "map" && map.state),
  }, isStep);
}

// --- browsing, searching, the case --------------------------------------------------------------

async function clear(isStep = false) {
  searches.stop();
  const turn = {};
  Object.assign(state, { query: null, view: "", shown: 0, turn });
  panel.hide();
  words.setBeside(false);
  remember(isStep);
  setBar("Gallery", "Click a picture to search with it.");
  byId("show-map").hidden = false;
  byId("grid").replaceChildren(...skeletons(12));
  await attempt(async () => {
    const cards = await nextCards();
    if (state.turn !== turn) return; // another view was chosen meanwhile
    byId("grid").replaceChildren(...cards);
    const isFiltered = Boolean(byId("where").value.trim());
    if (isFiltered) byId("count").textContent = "Pictures that pass the filter; click one to search with it.";
    if (!cards.length) showMessage(isFiltered ? "No picture passes the filter." : "This gallery is empty. Add pictures with: lookalike index FOLDER -g GALLERY");
  }, () => byId("grid").replaceChildren());
}

async function nextCards() {
  if (state.view === "case") return nextPairs();
  const where = byId("where").value.trim();
  const parameters = new URLSearchParams({ offset: state.shown, limit: PAGE_SIZE, ...(where && { where }) });
  const { total, pictures } = await getJson(galleryPath(state.gallery, `/pictures?${parameters}`));
  state.shown += pictures.length;
  byId("more").hidden = state.shown >= total || Boolean(state.query);
  return pictures.map((picture) => browseCard(state.gallery, picture, choose));
}

// A picture of the gallery is searched with alone; an uploaded one beside the words that are there.
function choose(picture) {
  words.set({});
  return searchWith(picture);
}

function searchWith({ id, name }) {
  state.query = { id, name };
  panel.show(state.gallery, state.query);
  scrollTo({ top: 0 });
  return search(true);
}

function uploadAndSearch(file, onId) {
  return uploadFor(file, (picture) => {
    onId(picture.id);
    return searchWith(picture);
  });
}

function uploadUnlike(file) {
  return uploadFor(file, ({ id, name }) => words.addUnlike(id, name));
}

function uploadFor(file, use) {
  return attempt(async () => {
    await ready;
    const limit = state.health.max_upload_bytes;
    if (file.size > limit) throw new RequestError(`${file.name} is larger than ${Math.round(limit / 2 ** 20)} MiB; choose a smaller picture.`);
    showMessage("Uploading…");
    const picture = await upload(file);
    showMessage("");
    await use(picture);
  });
}

const isAsked = () => Boolean(state.query || words.text);

// Without the picture the words go on alone, if there are any.
function dropQuery() {
  state.query = null;
  panel.hide();
  return words.text ? search(true) : clear(true);
}

async function search(isStep = false) {
  if (!isAsked()) return;
  Object.assign(state, { view: "", turn: {} });
  words.setBeside(Boolean(state.query));
  remember(isStep);
  const { has_probabilities } = state.galleries.find(({ name }) => name === state.gallery);
  await searches.run(state.gallery, state.query?.id ?? null, has_probabilities);
}

function showCase(isStep = false) {
  searches.stop();
  Object.assign(state, { query: null, view: "case", shown: 0, turn: {} });
  panel.hide();
  remember(isStep);
  if (isStep) showResults();
  const n = desk.list.length, isLeft = byId("undecided").checked;
  state.pairs = ordered(isLeft ? desk.list.filter((pair) => !pair.verdict) : desk.list); // stays, so that no page skips a pair
  setBar(`Case: ${desk.name}`, isLeft ? `${state.pairs.length.toLocaleString()} undecided of ${n.toLocaleString()} pairs` : `${n.toLocaleString()} pairs`);
  byId("show-gallery").hidden = false;
  byId("grid").replaceChildren(...nextPairs());
  if (!n) showMessage("Nothing has been decided in this case. Search, and say what is the same.");
  else if (!state.pairs.length) showMessage("Every pair of this case is decided.");
}

// The map of the gallery, in a state that an address held.
async function showMap(isStep = false, at = {}) {
  searches.stop();
  const turn = {};
  Object.assign(state, { query: null, view: "map", turn });
  panel.hide();
  setBar("Map", "Laying the pictures out…");
  byId("grid").hidden = byId("more").hidden = true;
  byId("show-gallery").hidden = false;
  await attempt(async () => {
    byId("collection-map").hidden = false;
    if (isStep) showResults();
    await map.open({ ...at, source: new ServerMap(state.gallery), where: byId("where").value.trim(), isStep });
    if (state.turn === turn) sayMap();
  }, hideMap);
}

// On a narrow page the results lie below the settings.
function showResults() {
  if (matchMedia("(max-width: 820px)").matches) byId("heading").scrollIntoView();
  else scrollTo({ top: 0 });
}

function sayMap() {
  const { nShown, n } = map.points, parts = [nShown, n].map((value) => value.toLocaleString());
  byId("count").textContent = map.where ? `${parts[0]} of ${parts[1]} pictures pass the filter; the others are not shown.` : "Similar pictures lie near each other.";
}

function hideMap() {
  byId("collection-map").hidden = true;
  byId("count").textContent = "";
}

// Another filter on the pictures that are shown: in the gallery, or on the map; a case has none.
function filter() {
  if (state.view === "case") return remember();
  if (state.view !== "map") return clear();
  if (byId("collection-map").hidden || map.isLoading) return showMap(false, readAddress()); // hidden: a filter had an error
  return attempt(async () => {
    await map.filterBy(byId("where").value.trim());
    showMessage("");
    sayMap();
  }, hideMap);
}

function nextPairs() {
  const next = state.pairs.slice(state.shown, state.shown + PAGE_SIZE);
  state.shown += next.length;
  byId("more").hidden = state.shown >= state.pairs.length;
  return next.map((pair) => pairCard(desk, pair, openPair));
}

function openPair(pair) {
  const regions = desk.list.filter((each) => each.query.sha256 === pair.query.sha256 && (each.box || each.polygon));
  const unique = [...new Map(regions.map(({ box, polygon }) => [JSON.stringify([box, polygon]), box ? { box } : { polygon }])).values()];
  state.query = pair.query;
  words.set(pair.parameters);
  const active = unique.findIndex(({ box, polygon }) => JSON.stringify([box ?? null, polygon ?? null]) === JSON.stringify([pair.box, pair.polygon]));
  panel.show(state.gallery, state.query, unique, active);
  return search(true);
}

// A decision was made or undone, or a case was opened (then there is no pair).
function onDecided(pair) {
  if (pair && state.query && pair.query.sha256.startsWith(searches.content ?? "-")) state.query.id = pair.query.id; // kept by the case
  refreshVerdicts();
  if (state.view === "case" && !byId("more").hidden && !visibleCards(byId("grid")).length) showMore();
  byId("learn").parentElement.hidden = !searches.content || Boolean(searches.found?.asked) || !desk.list.some((each) => each.verdict && each.query.sha256.startsWith(searches.content));
  if (pair || state.query || state.view) remember();
  if (pair) byId("case-said").textContent = `${pair.hit.name}: ${pair.verdict ?? "undecided"}`;
}

function showUndecided(isOn) {
  byId("undecided").checked = isOn;
  byId("grid").classList.toggle("only-undecided", isOn);
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

function chooseCase() {
  const name = byId("case").value;
  if (name !== "+") return attempt(async () => {
    await desk.open(name);
    remember();
    if (state.view === "case") await (desk.name ? showCase() : clear());
  });
  byId("case").value = desk.name;
  byId("name-case").showModal();
  return byId("case-name").focus();
}

const showMore = () => attempt(async () => byId("grid").append(...(await nextCards())));

// The next card, or the one before; past the last one come the cards that were not shown yet.
async function step(by) {
  const isLast = visibleCards(byId("grid")).at(-1)?.contains(document.activeElement);
  if (by > 0 && isLast && !byId("more").hidden) await showMore();
  stepCard(byId("grid"), by);
}

// Keys of the whole page; Compare and the query have their own.
function onKey(event) {
  if (document.querySelector("dialog[open]") || isForField(event)) return;
  if (event.key === "Escape" && panel.regions.region) return panel.regions.choose(-1);
  if (event.key === "j" || event.key === "k") return step(event.key === "j" ? 1 : -1);
  const card = document.activeElement?.closest?.(".card");
  if (card && byId("undecided").checked && "123".includes(event.key)) step(1); // it is about to go
  if (pressVerdict(desk, card?.querySelector(".verdicts"), event.key)) event.preventDefault();
}

if (localStorage.theme) document.documentElement.dataset.theme = localStorage.theme;
byId("theme").onclick = switchTheme;
byId("gallery").onchange = changeGallery;
byId("more").onclick = showMore;
byId("all-heat").onclick = showAllHeat;
byId("case").onchange = chooseCase;
byId("name-case").addEventListener("close", () => byId("name-case").returnValue === "ok" && byId("case-name").value.trim() &&
  attempt(() => desk.begin(byId("case-name").value.trim()).then(() => remember())));
byId("undo").onclick = () => desk.undo();
byId("show-map").onclick = () => showMap(true);
byId("show-gallery").onclick = () => clear(true);
byId("show-case").onclick = () => showCase(true);
byId("export-case").onclick = () => attempt(() => desk.exportReport());
byId("learn").onchange = () => search();
byId("undecided").onchange = () => {
  showUndecided(byId("undecided").checked);
  if (state.view === "case") showCase();
  else remember();
};
byId("min-similarity").oninput = () => {
  const value = Number(byId("min-similarity").value), text = value < 0 ? "any" : value.toFixed(2);
  byId("min-similarity-value").textContent = text;
  byId("min-similarity").setAttribute("aria-valuetext", text);
};
byId("settings").onchange = (event) => (isAsked() ? search(true) : event.target === byId("where") && filter());
byId("settings").onsubmit = (event) => event.preventDefault();
document.addEventListener("keydown", onKey);
addEventListener("popstate", () => attempt(restore));
byId("options").open = byId("case-options").open = !matchMedia("(max-width: 820px)").matches;
addArrowKeys(byId("grid"));
const ready = attempt(start);
