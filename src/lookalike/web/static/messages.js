// The bar above the results, and messages below it.

import { RequestError } from "./api.js";
import { byId } from "./dom.js";

export function setBar(heading, count) {
  byId("grid").hidden = false;
  byId("heading").textContent = heading;
  byId("count").textContent = count;
  for (const id of ["legend", "all-heat", "report", "message", "no-probability", "no-verdicts", "examples", "show-map", "show-gallery", "collection-map"]) byId(id).hidden = true;
}

export function showMessage(text, isError = false) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
  byId("message").classList.toggle("error", isError);
}

// "240 ms", "1.8 s", "2 min 5 s".
export function duration(seconds) {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
}

// Run `work` and show its error; `onFailure` clears what the error makes wrong.
export async function attempt(work, onFailure = () => {}) {
  try {
    return await work();
  } catch (error) {
    if (error.name === "AbortError") return undefined;
    onFailure();
    showMessage(error instanceof RequestError ? error.message : "Something went wrong on this page. Please reload it.", true);
    if (!(error instanceof RequestError)) throw error;
    return undefined;
  }
}
