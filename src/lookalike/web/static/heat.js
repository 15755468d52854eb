// Drawing of maps: values are upsampled before they are colored, which keeps to the palette's colors.

import { getJson } from "./api.js";

const PIXELS_PER_CELL = 16; // along each side
let palette = [];

export async function loadPalette() {
  palette = (await getJson("/palette")).rgba;
}

function colorOf(value, limit) {
  const relative = limit > 0 ? Math.max(-1, Math.min(1, value / limit)) : 0;
  const position = ((relative + 1) / 2) * (palette.length - 1);
  const below = Math.min(Math.floor(position), palette.length - 2);
  const t = position - below;
  return palette[below].map((part, i) => part + (palette[below + 1][i] - part) * t);
}

// Bilinear interpolation of a map at (y, x), in units of cells; values lie at the cells' centers.
function interpolate(map, y, x) {
  const rows = map.length, columns = map[0].length;
  const cy = Math.max(0, Math.min(rows - 1, y - 0.5)), cx = Math.max(0, Math.min(columns - 1, x - 0.5));
  const i = Math.min(Math.floor(cy), rows - 1), j = Math.min(Math.floor(cx), columns - 1);
  const i2 = Math.min(i + 1, rows - 1), j2 = Math.min(j + 1, columns - 1);
  const ty = cy - i, tx = cx - j;
  const upper = map[i][j] * (1 - tx) + map[i][j2] * tx;
  const lower = map[i2][j] * (1 - tx) + map[i2][j2] * tx;
  return upper * (1 - ty) + lower * ty;
}

// Draw a map on a canvas that covers its picture; `geometry` is the area that the map covers.
export function drawMap(canvas, map, geometry, limit) {
  const rows = map.length, columns = map[0].length;
  const small = document.createElement("canvas");
  small.width = columns * PIXELS_PER_CELL;
  small.height = rows * PIXELS_PER_CELL;
  const context = small.getContext("2d");
  const pixels = context.createImageData(small.width, small.height);
  for (let y = 0, at = 0; y < small.height; y++) {
    for (let x = 0; x < small.width; x++, at += 4) {
      pixels.data.set(colorOf(interpolate(map, (y + 0.5) / PIXELS_PER_CELL, (x + 0.5) / PIXELS_PER_CELL), limit), at);
    }
  }
  context.putImageData(pixels, 0, 0);
  const [height, width] = geometry.original_size, [top, left, cropHeight, cropWidth] = geometry.crop;
  const scale = 640 / Math.max(height, width);
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const on = canvas.getContext("2d");
  on.imageSmoothingQuality = "high";
  on.drawImage(small, left * scale, top * scale, cropWidth * scale, cropHeight * scale);
}

export function clearMap(canvas) {
  canvas.width = canvas.height = 1;
}

// Convert values per cell to values per 1% of the view, which are comparable between grids.
export const perPercent = (map) => {
  const factor = (map.length * map[0].length) / 100;
  return map.map((row) => row.map((value) => value * factor));
};

export function drawLegend(canvas) {
  const context = canvas.getContext("2d");
  for (let x = 0; x < canvas.width; x++) {
    const [r, g, b] = colorOf((2 * x) / (canvas.width - 1) - 1, 1);
    context.fillStyle = `rgb(${r}, ${g}, ${b})`;
    context.fillRect(x, 0, 1, canvas.height);
  }
}

// Give a frame the aspect ratio of its picture, so that the map and box over it are aligned.
export function fitFrame(frame, image) {
  const fit = () => frame.style.setProperty("--ratio", image.naturalWidth / image.naturalHeight);
  image.addEventListener("load", fit);
  if (image.complete && image.naturalWidth) fit();
}

// A number with fixed decimals; one that rounds to zero has no sign.
export function fixed(value, digits) {
  const text = value.toFixed(digits);
  return Number(text) === 0 ? (0).toFixed(digits) : text;
}
