// The grid of cards: pictures of the gallery, or hits of a search.

import { chosenMap, partButtons } from "./answers.js";
import { getJson, showPicture } from "./api.js";
import { button, element, titled } from "./dom.js";
import { clearMap, drawMap, fitFrame, fixed, perPercent } from "./heat.js";
import { sideLimits } from "./ranges.js";

const THUMBNAIL = 480; // longer side in pixels
const COPIES_SHOWN = 3; // names on a card

// Load pictures when they come near the viewport.
const observer = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    if (!isIntersecting) continue;
    observer.unobserve(target);
    target.dispatchEvent(new Event("near"));
  }
}, { rootMargin: "600px" });

export function frameOf(gallery, picture) {
  const frame = element("div", "frame"), image = element("img"), canvas = element("canvas");
  image.alt = picture.name;
  image.draggable = false;
  fitFrame(frame, image);
  image.addEventListener("load", () => frame.classList.add("loaded"));
  image.addEventListener("error", () => frame.classList.add("missing"));
  frame.append(image, canvas);
  frame.addEventListener("near", () => showPicture(image, gallery, picture.id, THUMBNAIL).catch(() => frame.classList.add("missing")));
  observer.observe(frame);
  return frame;
}

export function browseCard(gallery, picture, onChoose) {
  const card = element("div", "card browse");
  const stage = element("div", "stage"), frame = frameOf(gallery, picture);
  frame.querySelector("img").alt = ""; // the card has its name
  stage.append(frame);
  card.tabIndex = 0;
  card.setAttribute("role", "button");
  card.setAttribute("aria-label", `Search with ${picture.name}`);
  card.append(stage, titled(element("p", "name", picture.name)), ...metadataOf(picture));
  card.onclick = () => onChoose(picture);
  onPress(card, () => onChoose(picture));
  return card;
}

export function hitCard(search, hit, { onCompare, onChoose, onHover, onUnlike, verdicts }) {
  const card = element("article", "card hit");
  card.tabIndex = 0;
  card.dataset.id = hit.id;
  card.setAttribute("aria-label", `${hit.rank}: ${hit.name}, similarity ${fixed(hit.similarity, 3)}`);
  const stage = element("div", "stage"), frame = frameOf(search.gallery, hit);
  stage.append(frame, element("span", "rank", hit.rank), ...moveOf(hit));
  const facts = element("p", "facts");
  facts.append(element("b", "", fixed(hit.similarity, 3)), titled(element("span", "name", hit.name)));
  const why = button("why", "Why", "Show which cells match (W)", () => toggle(card, search, hit, frame));
  why.setAttribute("aria-pressed", "false");
  const actions = element("p", "actions");
  actions.append(
    why,
    button("", "Compare", "Compare both pictures cell by cell (Enter)", () => onCompare(hit)),
    button("quiet", "Search with this", "Use this picture as the query", () => onChoose(hit)),
    ...(onUnlike ? [button("quiet", "Not like this", "Search on for what does not look like this picture", () => onUnlike(hit))] : []),
  );
  const isSeen = () => (why.getAttribute("aria-pressed") === "true" ? search.method : "");
  const row = verdicts?.(hit, isSeen);
  card.append(stage, facts, ...evidenceOf(hit), ...metadataOf(hit), ...copiesOf(hit), ...(row ? [row] : []), actions);
  row?.refresh();
  stage.onclick = () => onCompare(hit);
  for (const name of ["pointerenter", "focusin"]) card.addEventListener(name, () => onHover(hit));
  for (const name of ["pointerleave", "focusout"]) card.addEventListener(name, () => onHover(null));
  onPress(card, () => onCompare(hit));
  card.addEventListener("keydown", (event) => {
    if (event.target === card && event.key === "w" && !event.ctrlKey && !event.metaKey) why.click();
  });
  return card;
}

// Enter and Space act on a card as a click does; every other key keeps its meaning.
function onPress(card, act) {
  card.addEventListener("keydown", (event) => {
    if (event.target !== card || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault(); // Space would scroll
    act();
  });
}

// "field: value" of each metadata field.
export const factsOf = ({ metadata }) => Object.entries(metadata ?? {}).map(([name, value]) => `${name}: ${value}`);

function metadataOf(picture) {
  const facts = factsOf(picture);
  return facts.length ? [titled(element("p", "metadata soft small", facts.join(" · ")))] : [];
}

// Names of further files with the same content; all of them in the title.
function copiesOf({ copy_names: names }) {
  if (!names.length) return [];
  const more = names.length > COPIES_SHOWN ? ` and ${names.length - COPIES_SHOWN} more` : "";
  const line = element("p", "copies soft small", `Same picture: ${names.slice(0, COPIES_SHOWN).join(", ")}${more}`);
  line.title = names.join("\n");
  return [line];
}

// "99%"; what rounds to all or nothing is not certain either.
export function chance(probability) {
  if (probability >= 0.995) return ">99%";
  return probability < 0.005 ? "<1%" : `${Math.round(probability * 100)}%`;
}

// The probability of a match, and what re-ranking by geometry found.
export function evidenceInWords({ probability, geometry }) {
  const points = geometry?.inliers ? `${geometry.inliers} points agree${geometry.mirrored ? ", mirrored" : ""}` : "no points agree";
  return [...(probability === null ? [] : [`${chance(probability)} match`]), ...(geometry ? [points] : [])];
}

function evidenceOf(hit) {
  const words = evidenceInWords(hit);
  return words.length ? [element("p", "evidence soft small", words.join(" · "))] : [];
}

function moveOf(hit) {
  if (hit.rank_before === null || hit.rank_before === hit.rank) return [];
  const by = hit.rank_before - hit.rank;
  const moved = element("span", by > 0 ? "moved up" : "moved down", `${by > 0 ? "▲" : "▼"} ${Math.abs(by)}`);
  moved.title = `Rank ${hit.rank_before} before re-ranking`;
  return [moved];
}

async function toggle(card, search, hit, frame) {
  const why = card.querySelector(".why"), canvas = frame.querySelector("canvas");
  const isOn = why.getAttribute("aria-pressed") !== "true";
  why.setAttribute("aria-pressed", String(isOn));
  if (!isOn) {
    search.drawn.delete(canvas);
    card.querySelector(".parts")?.remove();
    return clearMap(canvas);
  }
  why.setAttribute("aria-busy", "true"); // a disabled button would lose the focus
  try {
    const found = await getJson(search.explanationPath(hit));
    let part = -1; // of the words; all of them
    const draw = () => {
      const [map, limit] = chosenMap(found, part, search.limits.match);
      drawMap(canvas, perPercent(map), found.match_geometry, limit);
    };
    search.drawn.set(canvas, draw);
    search.matchMaps.set(hit.id, found.match_map);
    fitRanges(search);
    if (found.parts) card.querySelector(".actions").before(partButtons(found, (at) => {
      part = at;
      draw();
    }));
  } catch (error) {
    why.setAttribute("aria-pressed", "false");
    why.title = error.message;
  } finally {
    why.removeAttribute("aria-busy");
  }
}

// Choose the color ranges that all maps of the search share, and draw those that are on the screen.
export function fitRanges(search) {
  const queryMaps = search.hits.map((hit) => hit.query_map).filter((map) => map.length);
  search.limits = sideLimits(queryMaps, [...search.matchMaps.values()]);
  search.onLimits(search.limits);
  for (const draw of search.drawn.values()) draw();
}

export function skeletons(count) {
  return Array.from({ length: count }, () => element("article", "card skeleton"));
}

// Move the focus between cards with the arrow keys, following the columns on the screen, and with j and k.
export function addArrowKeys(grid) {
  grid.addEventListener("keydown", (event) => {
    const cards = visibleCards(grid), at = cards.indexOf(event.target);
    if (at < 0) return;
    const columns = cards.filter((card) => card.offsetTop === cards[0].offsetTop).length;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (!step || !cards[at + step]) return;
    event.preventDefault();
    cards[at + step].focus();
  });
}

export const visibleCards = (grid) => [...grid.querySelectorAll(".card")].filter((card) => card.offsetParent);

// Focus the next card, or the one before; the first one where no card has the focus.
export function stepCard(grid, by) {
  const cards = visibleCards(grid), at = cards.indexOf(document.activeElement?.closest?.(".card"));
  const next = at < 0 ? cards[0] : cards[at + by];
  next?.focus();
  next?.scrollIntoView({ block: "nearest" });
}
