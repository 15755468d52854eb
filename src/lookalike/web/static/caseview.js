// The pairs of a case as cards, those of one query together; each opens again as it was searched.

import { button, element, titled } from "./dom.js";
import { fixed } from "./heat.js";
import { frameOf } from "./results.js";
import { verdictRow } from "./verdicts.js";

const regionName = ({ box, polygon }) => (box ? `box ${box.map(Math.round).join(", ")}` : polygon ? `polygon of ${polygon.length} corners` : "");

export function pairCard(desk, pair, onOpen) {
  const card = element("article", "card pair-card"), both = element("div", "both");
  card.tabIndex = 0;
  card.dataset.id = pair.id;
  card.setAttribute("aria-label", `${pair.query.name} and ${pair.hit.name}, similarity ${fixed(pair.similarity, 3)}`);
  for (const picture of [pair.query, pair.hit]) {
    const stage = element("div", "stage");
    stage.append(frameOf(desk.gallery, picture));
    stage.onclick = () => onOpen(pair);
    both.append(stage);
  }
  const facts = element("p", "facts");
  facts.append(element("b", "", fixed(pair.similarity, 3)), titled(element("span", "name", pair.hit.name)));
  const query = titled(element("p", "metadata soft small", [pair.query.name, regionName(pair)].filter(Boolean).join(" · ")));
  const actions = element("p", "actions");
  actions.append(button("", "Open", "Search again as it was searched (Enter)", () => onOpen(pair)));
  const verdicts = verdictRow(desk, () => ({ pair }), () => "");
  card.append(both, query, facts, verdicts, actions);
  verdicts.refresh(); // now that it has a card
  card.addEventListener("keydown", (event) => {
    if (event.target !== card || (event.key !== "Enter" && event.key !== " ")) return;
    event.preventDefault();
    onOpen(pair);
  });
  return card;
}

// Pairs by query and region, in the order in which they came into the case.
export function ordered(pairs) {
  const groups = new Map();
  for (const pair of pairs) {
    const key = `${pair.query.sha256} ${regionName(pair)}`;
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(pair);
  }
  return [...groups.values()].flatMap((group) => group.sort((a, b) => Boolean(b.verdict) - Boolean(a.verdict) || (a.rank ?? 0) - (b.rank ?? 0)));
}
