"""Interpolation of maps from the feature grid to the pixels of the original image."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from lookalike.render.ranges import checked_map
from lookalike.types import FloatArray, Geometry

_CUBIC = -0.75  # the parameter of cubic convolution


def place(
    values: FloatArray, geometry: Geometry, size: tuple[int, int], *, smooth: bool = True
) -> FloatArray:
    """Interpolate a map (h, w) to the whole original image at size (H, W): (H, W) float32.

    The result is zero outside the crop. Values are located at cell centers; interpolation between them
    is smooth and stays in the range of the neighbors, so it adds no sign that the map does not have.
    With ``smooth=False`` each cell is constant. Raises ValueError for maps that are not finite or 2-d
    and for a crop without area.
    """
    values = checked_map(values)
    rows, columns = _grid_positions(geometry, size, (values.shape[0], values.shape[1]))
    if smooth:
        placed = _between(_between(values, rows).T, columns).T
    else:
        placed = values[_nearest(rows, values.shape[0])][:, _nearest(columns, values.shape[1])]
    return np.where(seen(geometry, size), placed, np.float32(0.0))


def place_cubic(values: FloatArray, geometry: Geometry, size: tuple[int, int]) -> FloatArray:
    """Enlarge a map as ``place`` does, by cubic convolution instead: (H, W) float32.

    Keys 1981 with a = -0.75, the cubic of the papers' pictures; values repeat beyond the edge of the
    grid. It overshoots: its ends lie beyond those of the cells.
    """
    values = checked_map(values)
    rows, columns = _grid_positions(geometry, size, (values.shape[0], values.shape[1]))
    placed = _cubic(_cubic(values.astype(np.float64), rows).T, columns).T
    return np.where(seen(geometry, size), placed, 0.0).astype(np.float32)


def seen(geometry: Geometry, size: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the mask of pixels inside the crop, of the original image at size (H, W): (H, W) bool."""
    rows, columns = _grid_positions(geometry, size, (1, 1))
    return np.outer((rows >= 0) & (rows < 1), (columns >= 0) & (columns < 1))


def sees_all(geometry: Geometry) -> bool:
    """Whether the crop covers the whole original image, up to half a pixel at each edge."""
    top, left, height, width = geometry.crop
    below, right = top + height - geometry.original_size[0], left + width - geometry.original_size[1]
    return max(top, left) < 0.5 and min(below, right) > -0.5


def canvas_box(
    box: tuple[float, float, float, float], geometry: Geometry, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Scale a box (left, top, right, bottom) from original pixels to the image drawn at size (H, W)."""
    y = size[0] / geometry.original_size[0]
    x = size[1] / geometry.original_size[1]
    return box[0] * x, box[1] * y, box[2] * x, box[3] * y


def fitted(original: tuple[int, int], box: tuple[int, int]) -> tuple[int, int]:
    """Return the largest size (H, W) of the same aspect ratio within a box (H, W), at least 1 x 1."""
    scale = min(box[0] / original[0], box[1] / original[1])
    return max(1, round(original[0] * scale)), max(1, round(original[1] * scale))


def _grid_positions(
    geometry: Geometry, size: tuple[int, int], grid: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row (H,) and column (W,) of the pixel centers in units of cells; cell i covers i to i + 1."""
    top, left, height, width = geometry.crop
    if height <= 0 or width <= 0:
        raise ValueError(f"the crop {geometry.crop} (top, left, height, width) has no area to draw a map on")
    y = (np.arange(size[0], dtype=np.float64) + 0.5) * (geometry.original_size[0] / size[0])
    x = (np.arange(size[1], dtype=np.float64) + 0.5) * (geometry.original_size[1] / size[1])
    return (y - top) / height * grid[0], (x - left) / width * grid[1]


def _nearest(positions: NDArray[np.float64], n: int) -> NDArray[np.intp]:
    return np.clip(np.floor(positions), 0, n - 1).astype(np.intp)


def _between(values: FloatArray, positions: NDArray[np.float64]) -> FloatArray:
    """Values (n, m) at positions (k,) in cells along the first axis: (k, m).

    Monotone cubic interpolation (Fritsch and Carlson 1980, with harmonic means as slopes): smooth
    like a bicubic, without its overshoot.
    """
    n = len(values)
    if n == 1:
        return np.repeat(values, len(positions), axis=0)
    from_center = np.clip(positions - 0.5, 0, n - 1)  # half a cell: values stand at the centers
    below = np.minimum(from_center.astype(np.intp), n - 2)
    t = (from_center - below).astype(np.float32)[:, None]
    slopes = _slopes(values)
    start, stop = values[below], values[below + 1]
    step = t * t * (3 - 2 * t)
    bend = slopes[below] * (t * (1 - t) ** 2) - slopes[below + 1] * (t * t * (1 - t))
    return np.asarray(start + (stop - start) * step + bend)


def _cubic(values: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values (n, m) at positions (k,) in cells along the first axis, by cubic convolution: (k, m)."""
    n, a = len(values), _CUBIC
    from_center = positions - 0.5
    below = np.floor(from_center)
    total = np.zeros((len(positions), values.shape[1]))
    for offset in (-1, 0, 1, 2):
        x = np.abs(from_center - below - offset)
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = ((a * x - 5 * a) * x + 8 * a) * x - 4 * a
        tap = np.clip(below + offset, 0, n - 1).astype(np.intp)
        total += np.where(x <= 1, near, far)[:, None] * values[tap]
    return total


def _slopes(values: FloatArray) -> FloatArray:
    """Slope at each value along the first axis, zero at local extrema and at both ends."""
    before, after = np.diff(values, axis=0)[:-1], np.diff(values, axis=0)[1:]
    same_direction = np.sign(before) * np.sign(after) > 0
    slopes = np.zeros_like(values)
    np.divide(2 * before * after, before + after, out=slopes[1:-1], where=same_direction)
    return slopes
