// The points of a map: positions in a unit square, clusters, ids, and which of them a pick means.
// A pick is a text that an address can hold: "cluster:3", "value:hall", "box:l,t,r,b", "lasso:x,y,x,y,...", "picture:ID".

const ID_BYTES = 10;
const MOST_CORNERS = 80; // of a lasso in an address

export class MapPoints {
  // A buffer of n points: 2 n float32, n int32, 10 n bytes; little-endian.
  constructor(buffer, n) {
    const given = new Float32Array(buffer, 0, 2 * n);
    this.n = n;
    this.passing = null; // of a filter: a Uint8Array of n; null: all are shown
    this.clusters = new Int32Array(buffer, 8 * n, n);
    this.ids = new Uint8Array(buffer, 12 * n, ID_BYTES * n);
    const low = [Infinity, Infinity], high = [-Infinity, -Infinity];
    for (let i = 0; i < 2 * n; i++) {
      if (given[i] < low[i & 1]) low[i & 1] = given[i];
      if (given[i] > high[i & 1]) high[i & 1] = given[i];
    }
    const size = Math.max(high[0] - low[0], high[1] - low[1]) || 1;
    const start = [0, 1].map((axis) => (low[axis] + high[axis]) / 2 - size / 2); // the shorter side is centered
    this.x = new Float32Array(n);
    this.y = new Float32Array(n); // downwards
    for (let i = 0; i < n; i++) {
      this.x[i] = (given[2 * i] - start[0]) / size;
      this.y[i] = 1 - (given[2 * i + 1] - start[1]) / size;
    }
  }

  isShown(row) {
    return !this.passing || this.passing[row] === 1;
  }

  get nShown() {
    return this.passing ? this.passing.reduce((sum, each) => sum + each, 0) : this.n;
  }

  // Clusters as what is shown leaves them: their sizes, and typical pictures that are shown.
  shownOf(clusters) {
    if (!this.passing) return clusters;
    const rows = new Map();
    for (let i = 0; i < this.n; i++) {
      if (!this.passing[i]) continue;
      if (!rows.has(this.clusters[i])) rows.set(this.clusters[i], []);
      rows.get(this.clusters[i]).push(i);
    }
    return clusters.filter(({ number }) => rows.has(number)).map((cluster) => {
      const own = rows.get(cluster.number), typical = cluster.typical.filter((row) => this.passing[row]);
      return { ...cluster, size: own.length, typical: typical.length ? typical : own.slice(0, 1) };
    });
  }

  id(row) {
    let text = "";
    for (let i = row * ID_BYTES; i < (row + 1) * ID_BYTES; i++) text += this.ids[i].toString(16).padStart(2, "0");
    return text;
  }

  rowOf(id) {
    let low = 0, high = this.n - 1; // rows are in the order of their ids
    while (low <= high) {
      const middle = (low + high) >> 1, found = this.id(middle);
      if (found === id) return middle;
      if (found < id) low = middle + 1;
      else high = middle - 1;
    }
    return -1;
  }

  // The point that is shown nearest to a place, within a distance; -1 if there is none.
  nearest(x, y, within) {
    let best = -1, least = within * within;
    for (let i = 0; i < this.n; i++) {
      const dx = this.x[i] - x, dy = this.y[i] - y, distance = dx * dx + dy * dy;
      if (distance <= least && this.isShown(i)) [best, least] = [i, distance];
    }
    return best;
  }

  // The nearest point to the left, right, top or bottom of one, within 45 degrees of that direction.
  next(row, [ax, ay]) {
    let best = -1, least = Infinity;
    for (let i = 0; i < this.n; i++) {
      const dx = this.x[i] - this.x[row], dy = this.y[i] - this.y[row], along = dx * ax + dy * ay, across = Math.abs(dx * ay - dy * ax);
      if (along <= 0 || across > along || !this.isShown(i)) continue;
      const distance = along + 2 * across;
      if (distance < least) [best, least] = [i, distance];
    }
    return best;
  }

  // Shown rows that a pick means; `column` is the one that the map is colored by.
  rowsOf(pick, column) {
    const at = pick.indexOf(":"), kind = pick.slice(0, at), what = pick.slice(at + 1);
    if (kind === "picture") return [this.rowOf(what)].filter((row) => row >= 0 && this.isShown(row));
    if (kind === "cluster") return this.#where((i) => this.clusters[i] === Number(what));
    if (["value", "others", "none"].includes(kind)) {
      const code = kind === "none" ? -1 : kind === "others" ? column?.values.length : column?.values.indexOf(what);
      return column?.codes.length && (kind !== "value" || code >= 0) ? this.#where((i) => column.codes[i] === code) : [];
    }
    const numbers = what.split(",").map(Number);
    if (numbers.some((value) => !Number.isFinite(value))) return [];
    if (kind === "box" && numbers.length === 4) return this.#where((i) => isInBox(this.x[i], this.y[i], numbers));
    if (kind === "lasso" && numbers.length >= 6) return this.#inside(numbers);
    return [];
  }

  #where(test) {
    const rows = [];
    for (let i = 0; i < this.n; i++) if (this.isShown(i) && test(i)) rows.push(i);
    return rows;
  }

  #inside(corners) {
    const xs = corners.filter((_, i) => i % 2 === 0), ys = corners.filter((_, i) => i % 2);
    const bounds = [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)];
    return this.#where((i) => isInBox(this.x[i], this.y[i], bounds) && isInPolygon(this.x[i], this.y[i], xs, ys));
  }
}

const isInBox = (x, y, [left, top, right, bottom]) => x >= left && x <= right && y >= top && y <= bottom;

function isInPolygon(x, y, xs, ys) {
  let inside = false;
  for (let i = 0, j = xs.length - 1; i < ys.length; j = i++) {
    if (ys[i] > y !== ys[j] > y && x < ((xs[j] - xs[i]) * (y - ys[i])) / (ys[j] - ys[i]) + xs[i]) inside = !inside;
  }
  return inside;
}

const short = (value) => Number(value.toFixed(5));

export const boxPick = (left, top, right, bottom) => `box:${[left, top, right, bottom].map(short)}`;

// Corners [[x, y], ...] of a drawn line, fewer where there are many.
export function lassoPick(corners) {
  const step = Math.max(1, Math.ceil(corners.length / MOST_CORNERS));
  return `lasso:${corners.filter((_, i) => i % step === 0).flat().map(short)}`;
}
