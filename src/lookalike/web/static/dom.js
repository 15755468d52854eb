// Small helpers to find and make elements.

export const byId = (id) => document.getElementById(id);

export function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

export function button(className, text, label, onClick) {
  const made = element("button", className, text);
  made.type = "button";
  made.title = label;
  made.addEventListener("click", (event) => {
    event.stopPropagation();
    onClick(event);
  });
  return made;
}

// A text that may be cut off, with the whole of it as its title.
export function titled(made) {
  made.title = made.textContent;
  return made;
}

// Whether a key is meant for a field, or for the browser.
export const isForField = (event) =>
  event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input:not([type=range]):not([type=checkbox]), textarea, select");

export async function saveAs(blob, name) {
  const link = element("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
