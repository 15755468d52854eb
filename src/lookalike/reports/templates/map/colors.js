// Colors of points: those of Okabe and Ito (2008) for categories, viridis for numbers; both can be told apart by the color-blind.

const CATEGORIES = {
  light: ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#1b1d22"],
  dark: ["#56b4e9", "#e69f00", "#009e73", "#cc79a7", "#f0e442", "#d55e00", "#e9ebef"],
};
const OTHERS = { light: "#8d939d", dark: "#747b86" };
const NONE = { light: "#c3c7ce", dark: "#464c57" };
const PAPER = { light: "#ffffff", dark: "#1d2026" };
const INK = { light: "#1b1d22", dark: "#0b0c0f" }; // of outlines
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];
const RAMP_ENDS = { light: [0, 0.92], dark: [0.18, 1] }; // what would vanish in the paper is left out
const DIMMED = { light: 0.78, dark: 0.66 }; // of the way to the paper, for points that are not selected

export const parts = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
const packed = ([r, g, b]) => (0xff000000 | (b << 16) | (g << 8) | r) >>> 0; // as ImageData holds it
const mixed = (a, b, share) => a.map((value, i) => Math.round(value + (b[i] - value) * share));

function rampColor(share, theme) {
  const [low, high] = RAMP_ENDS[theme], at = (low + (high - low) * share) * (VIRIDIS.length - 1);
  const left = Math.min(VIRIDIS.length - 2, Math.floor(at));
  return mixed(parts(VIRIDIS[left]), parts(VIRIDIS[left + 1]), at - left);
}

// Colors of all points by cluster (no column), category or number: a table of colors, and the number in it of each point.
export function coloring(points, column, theme) {
  const table = [], of = new Uint8Array(points.n);
  const paper = parts(PAPER[theme]), ink = parts(INK[theme]), grays = [parts(OTHERS[theme]), parts(NONE[theme])];
  let legend = [];
  if (column?.kind === "number") {
    const known = column.numbers.filter((value) => value !== null);
    const low = known.reduce((a, b) => Math.min(a, b), Infinity), high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    for (let i = 0; i < 64; i++) table.push(rampColor(i / 63, theme));
    for (let i = 0; i < points.n; i++) {
      const value = column.numbers[i];
      of[i] = value === null ? 65 : Math.round((63 * (value - low)) / (high - low || 1));
    }
    table.push(...grays);
    let missing = 0;
    for (let i = 0; i < points.n; i++) if (column.numbers[i] === null && points.isShown(i)) missing++;
    if (missing) legend = [{ color: NONE[theme], text: "no value", count: missing, pick: "" }];
    const ramp = Array.from({ length: 9 }, (_, i) => `rgb(${rampColor(i / 8, theme)})`);
    return { theme, paper, of, legend, range: { low, high, ramp }, ...tables(table, paper, ink, DIMMED[theme]) };
  }
  table.push(...CATEGORIES[theme].map(parts), ...grays);
  const n = CATEGORIES[theme].length;
  if (!column) {
    for (let i = 0; i < points.n; i++) of[i] = points.clusters[i] < 0 ? n + 1 : points.clusters[i] % n;
    return { theme, paper, of, legend, range: null, ...tables(table, paper, ink, DIMMED[theme]) };
  }
  const counts = new Map();
  for (let i = 0; i < points.n; i++) {
    const code = column.codes[i];
    of[i] = code < 0 ? n + 1 : code === column.values.length ? n : code;
    if (points.isShown(i)) counts.set(code, (counts.get(code) ?? 0) + 1);
  }
  legend = column.values.map((text, i) => ({ color: CATEGORIES[theme][i], text, count: counts.get(i) ?? 0, pick: `value:${text}` }));
  const [others, none] = [counts.get(column.values.length), counts.get(-1)];
  if (others) legend.push({ color: OTHERS[theme], text: "other values", count: others, pick: "others:" });
  if (none) legend.push({ color: NONE[theme], text: "no value", count: none, pick: "none:" });
  return { theme, paper, of, legend, range: null, ...tables(table, paper, ink, DIMMED[theme]) };
}

export const clusterColor = (number, theme) => CATEGORIES[theme][number % CATEGORIES[theme].length];

// For each color: full, dimmed, and its outline.
function tables(table, paper, ink, dimmed) {
  return {
    full: table.map(packed), dimmed: table.map((color) => packed(mixed(color, paper, dimmed))),
    edge: table.map((color) => packed(mixed(color, ink, 0.45))), background: packed(paper),
  };
}
