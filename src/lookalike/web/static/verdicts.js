// Verdict buttons, note and tags of a hit or a pair, on cards and in Compare.

import { VERDICTS } from "./case.js";
import { button, element } from "./dom.js";

const LABELS = { same: "Same", different: "Different", unsure: "Unsure" };

// A row that decides about `subject()`; `seen()` says which map is on the screen.
export function verdictRow(desk, subject, seen, { isOpen = false } = {}) {
  const row = element("div", "verdicts"), buttons = element("span", "verdict-buttons");
  buttons.setAttribute("role", "group");
  buttons.setAttribute("aria-label", "Verdict");
  const choices = VERDICTS.map((verdict, i) => {
    const choice = button(`verdict ${verdict}`, LABELS[verdict], `${LABELS[verdict]} (${i + 1})`, () => desk.decide(subject(), { verdict, seen: seen() }));
    choice.dataset.verdict = verdict;
    return choice;
  });
  buttons.append(...choices);
  const form = noteForm(desk, subject);
  const open = button("quiet note-button", "Note", "Write a note or tags (N)", () => {
    form.hidden = !form.hidden;
    open.setAttribute("aria-expanded", String(!form.hidden));
    if (!form.hidden) form.querySelector("textarea").focus();
  });
  open.hidden = isOpen;
  form.hidden = !isOpen;
  open.setAttribute("aria-expanded", "false");
  buttons.append(open);
  const words = element("p", "said soft small");
  row.append(buttons, words, form);
  row.refresh = () => {
    const now = subject(), pair = now && desk.pairOf(now);
    for (const choice of choices) choice.setAttribute("aria-pressed", String(pair?.verdict === choice.dataset.verdict));
    const said = [pair?.note, ...(pair?.tags ?? []).map((tag) => `#${tag}`), pair?.verdict && pair.who && `by ${pair.who}`].filter(Boolean);
    words.textContent = said.join(" · ");
    words.hidden = !said.length;
    form.fill(pair);
    const card = row.closest(".card");
    if (card && pair?.verdict) card.dataset.verdict = pair.verdict;
    else if (card) delete card.dataset.verdict;
  };
  row.refresh();
  return row;
}

function noteForm(desk, subject) {
  const form = element("div", "note-form"), note = element("textarea"), tags = element("input");
  note.rows = 2;
  note.maxLength = 4000;
  note.placeholder = "Note";
  note.setAttribute("aria-label", "Note");
  tags.type = "text";
  tags.placeholder = "Tags, separated by commas";
  tags.setAttribute("aria-label", "Tags, separated by commas");
  note.onchange = () => desk.decide(subject(), { note: note.value });
  tags.onchange = () => desk.decide(subject(), { tags: tags.value.split(",") });
  form.append(note, tags);
  form.fill = (pair) => {
    if (document.activeElement !== note) note.value = pair?.note ?? "";
    if (document.activeElement !== tags) tags.value = (pair?.tags ?? []).join(", ");
  };
  return form;
}

// Verdict keys: 1, 2, 3, u to undo, n for the note; true if the key was one of them.
export function pressVerdict(desk, row, key) {
  if (key === "u") desk.undo();
  else if (!row) return false;
  else if (key === "n") row.querySelector(".note-button:not([hidden])")?.click() ?? row.querySelector("textarea").focus();
  else if (VERDICTS[Number(key) - 1]) row.querySelectorAll("button.verdict")[Number(key) - 1].click();
  else return false;
  return true;
}

export function refreshVerdicts() {
  for (const row of document.querySelectorAll(".verdicts")) row.refresh();
}
