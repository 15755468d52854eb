// Levels and linked nodes of an AVSL model below two compared pictures; each is drawn when it is chosen.

import { perPercent } from "./heat.js";

const signed = (value, digits = 4) => `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;

// Fill `panel` with buttons; `onChoose` gets what to draw on both pictures, null for the whole similarity.
export function showGraph(panel, found, onChoose) {
  panel.hidden = !found?.levels;
  panel.replaceChildren();
  if (panel.hidden) return;
  const choose = (button, drawn) => {
    for (const other of panel.querySelectorAll("button")) other.setAttribute("aria-pressed", String(other === button));
    onChoose(drawn);
  };
  const button = (label, reliability, drawn) => chooser(label, reliability, (self) => choose(self, drawn));
  const whole = button("All levels", null, null);
  whole.setAttribute("aria-pressed", "true");
  const levels = [...found.levels].reverse().map((level) => button(`Level ${level.level}`, level.reliability, levelDrawn(level, found)));
  const node = (each) => button(`${each.level}·${each.node}`, each.level > 1 ? each.reliability : null, nodeDrawn(each, found));
  panel.append(
    line("Levels", whole, ...levels),
    line("Graph", text(`The highest level alone has distance ${found.own_distance.toFixed(3)}; inferring unreliable nodes ` +
      `(level·node) from those below makes it ${found.distance.toFixed(3)}. Largest changes:`),
      ...found.corrected.flatMap((each) => [node(each), text(signed(each.correction))])),
    ...found.together.map((each) => chainLine("Together", each, node, signed(each.amount))),
    ...found.apart.map((each) => chainLine("Apart", each, node, each.amount.toFixed(4))),
  );
}

function chainLine(name, chain, node, amount) {
  const nodes = [...chain.nodes].reverse(), links = [...chain.links].reverse();
  const parts = nodes.flatMap((each, i) => (i ? [text(`─ ${links[i - 1].toFixed(2)} →`), node(each)] : [node(each)]));
  return line(name, ...parts, text(amount));
}

function levelDrawn(level, found) {
  const corrected = level.level > 1 ? `, corrected the distance by ${signed(level.correction)}` : "";
  return drawn(level, found, `Level ${level.level} of ${found.levels.length}: reliability ${level.reliability.toFixed(2)}, ` +
    `in common ${signed(level.common)}, distance ${level.share.toFixed(4)}${corrected}. ` +
    `The maps of all levels add up to those of the similarity.`);
}

function nodeDrawn(node, found) {
  const difference = (node.query_value - node.match_value) ** 2;
  const corrected = node.level > 1 ? ` Reliability ${node.reliability.toFixed(2)}; corrected the distance by ${signed(node.correction)}.` : "";
  return drawn(node, found, `Node ${node.node} of level ${node.level}: value ${signed(node.query_value, 3)} on the query and ` +
    `${signed(node.match_value, 3)} on the match, own difference ${difference.toFixed(4)}.${corrected} One color on both brings them together.`);
}

function drawn({ query_map, match_map, limit }, { query_geometry, match_geometry }, note) {
  return {
    maps: [perPercent(query_map), perPercent(match_map)], geometries: [query_geometry, match_geometry], limit,
    note: `${note} Colors range over ±${limit.toPrecision(2)} per 1% of the view.`,
  };
}

// A button with its reliability as a number and a bar.
function chooser(label, reliability, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "node";
  button.textContent = label;
  button.setAttribute("aria-pressed", "false");
  if (reliability !== null) {
    const bar = document.createElement("meter");
    Object.assign(bar, { value: reliability, min: 0, max: 1, title: `reliability ${reliability.toFixed(2)}` });
    button.append(" ", bar, ` ${reliability.toFixed(2)}`);
  }
  button.onclick = () => onClick(button);
  return button;
}

function line(name, ...parts) {
  const row = document.createElement("p");
  row.className = "graph-line";
  const title = document.createElement("b");
  title.textContent = name;
  row.append(title, ...parts);
  return row;
}

function text(words) {
  const span = document.createElement("span");
  span.className = "soft";
  span.textContent = words;
  return span;
}
