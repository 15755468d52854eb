// How a picture answers words: its map for all of them, and for each word or part, chosen by buttons.

import { button, element } from "./dom.js";
import { fixed } from "./heat.js";

// Buttons for all and for each part of an explanation by words; `onChoose` gets a part's number, or -1 for all.
export function partButtons(found, onChoose) {
  const row = element("div", "chips parts");
  row.setAttribute("role", "group");
  row.setAttribute("aria-label", found.by_words ? "Words" : "Parts of what was asked for");
  if (found.parts.length < 2) return row;
  const names = ["all", ...found.parts.map(({ label }) => label)];
  const values = [found.similarity, ...found.parts.map(({ value }) => value)];
  const choices = names.map((name, i) => {
    const choice = button("chip", "", i ? `Where the picture answers “${name}”` : "Where the picture answers all of it", () => choose(i));
    choice.append(element("span", "", name), " ", element("span", "number", signed(values[i])));
    choice.setAttribute("aria-pressed", String(!i));
    return choice;
  });
  const choose = (at) => {
    choices.forEach((choice, i) => choice.setAttribute("aria-pressed", String(i === at)));
    onChoose(at - 1);
  };
  row.append(...choices);
  return row;
}

// The map and limit to draw: of a part, in the range of the parts, or of all in the given one.
export function chosenMap(found, part, limit) {
  return part < 0 ? [found.match_map, limit] : [found.parts[part].map, found.part_limit];
}

// What is shown, in words.
export function answerNote(found, part, limit) {
  const range = (most) => ` Colors range over ±${fixed(most, 3)} per 1% of the view.`;
  if (part < 0) {
    const residual = Math.abs(found.match_residual) < 0.0005 ? "." : ` less a residual (${fixed(found.match_residual, 3)}).`;
    return `Orange cells answer what was asked for, blue cells speak against it. The map sums to the similarity${residual}${range(limit)}`;
  }
  const { label, value } = found.parts[part];
  const meaning = found.by_words
    ? `Without “${label}” the similarity would be ${value < 0 ? "higher" : "lower"} by ${fixed(Math.abs(value), 3)}; the map sums to that difference, less a residual.`
    : `“${label}” gives ${signed(value)} of the similarity; the map sums to that, less a residual.`;
  return meaning + range(found.part_limit);
}

const signed = (value) => (value < 0 ? "" : "+") + fixed(value, 3);
