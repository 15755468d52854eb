// Color ranges that make maps comparable; the rule is that of the reports (render/ranges.py).

import { fixed } from "./heat.js";

const FEW = 3; // within this factor two sides are called alike

const peakOf = (map) => Math.max(...map.flat().map(Math.abs)) * ((map.length * map[0].length) / 100); // per 1% of the view
const carriedBy = (map) => map.flat().reduce((sum, value) => sum + Math.abs(value), 0);
const most = (maps, measure) => Math.max(0, ...maps.map(measure));

// The limits of the maps on the query and of those on the matches: one for both, or two where one of them would be
// blank in the range of the other although both carry about as much, as when a box limits the query.
export function sideLimits(queryMaps, matchMaps) {
  const sides = [queryMaps, matchMaps].filter((maps) => maps.length);
  const peaks = sides.map((maps) => most(maps, peakOf)), limit = Math.max(0, ...peaks);
  const carried = sides.map((maps) => most(maps, carriedBy));
  const differ = limit > FEW * Math.min(...peaks) && Math.max(...carried) <= FEW * Math.min(...carried);
  return differ ? { query: peaks[0], match: peaks[1] } : { query: limit, match: limit };
}

// The ranges in words, and why there are two.
export function rangesInWords({ query, match }, matches = "match") {
  if (query === match) return `Colors range over ±${fixed(match, 3)} per 1% of the view.`;
  return (
    `Colors range over ±${fixed(query, 3)} on the query and ±${fixed(match, 3)} on the ${matches}, per 1% of the view: ` +
    "in one range, one side would be blank."
  );
}
