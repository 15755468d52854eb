// The page's address holds what is shown, so that reload, back and a sent link show the same.

const NAMES = ["gallery", "query", "where", "rerank", "k", "min", "case", "view", "undecided", "text", "weight", "layout", "color", "at", "pick"];

// A region as "l,t,r,b", or a polygon as "x,y,x,y,x,y,...", in pixels of the query.
export const regionText = (region) => (region.box ?? region.polygon.flat()).join(",");

export function regionOf(text) {
  const numbers = text.split(",").map(Number);
  if (numbers.some((value) => !Number.isFinite(value))) return null;
  if (numbers.length === 4) return { box: numbers };
  if (numbers.length < 6 || numbers.length % 2) return null;
  return { polygon: Array.from({ length: numbers.length / 2 }, (_, i) => numbers.slice(2 * i, 2 * i + 2)) };
}

export function readAddress() {
  const given = new URLSearchParams(location.search), values = {};
  for (const name of NAMES) values[name] = given.get(name) ?? "";
  values.regions = given.getAll("region").map(regionOf).filter(Boolean);
  values.unlike = given.getAll("unlike");
  values.active = given.has("active") ? Number(given.get("active")) : -1;
  if (!values.regions[values.active]) values.active = -1;
  return values;
}

// `isStep` makes an entry that the back button returns to.
export function writeAddress(values, isStep) {
  const kept = new URLSearchParams();
  for (const name of NAMES) if (values[name]) kept.set(name, values[name]);
  for (const region of values.regions ?? []) kept.append("region", regionText(region));
  for (const what of values.unlike ?? []) kept.append("unlike", what);
  if (values.active >= 0) kept.set("active", values.active);
  const text = kept.toString(), url = location.pathname + (text && `?${text}`);
  if (url === location.pathname + location.search) return;
  history[isStep ? "pushState" : "replaceState"](null, "", url);
}
