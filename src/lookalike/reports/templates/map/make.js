// Makes an element with properties and children; `label` is what a screen reader says.
export function make(tag, { label, ...properties } = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  if (tag === "button") made.type = "button";
  if (label) made.setAttribute("aria-label", label);
  made.append(...children);
  return made;
}

export const counted = (n, one, many = `${one}s`) => `${n.toLocaleString("en")} ${n === 1 ? one : many}`;
