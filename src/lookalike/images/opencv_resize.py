"""OpenCV's bilinear resize of 8-bit pictures, to the level.

Without low-pass filter and with weights of eleven bits, so it differs from Pillow's by several levels.
Networks whose published code resized with ``cv2.resize`` saw these pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BITS = 11  # of a weight


def opencv_resize(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Pixels (H, W, C) resized to (h, w, C) as ``cv2.resize`` does by default.

    Pictures of exactly twice the size are averaged over 2 x 2 pixels, as there.
    """
    height, width = size
    if pixels.shape[:2] == (2 * height, 2 * width):
        blocks = pixels.reshape(height, 2, width, 2, -1).sum((1, 3), dtype=np.uint32)
        averaged: NDArray[np.uint8] = ((blocks + 2) >> 2).astype(np.uint8)
        return averaged
    top, bottom, of_top, of_bottom = _neighbors(pixels.shape[0], height, stops_at_ends=False)
    left, right, of_left, of_right = _neighbors(pixels.shape[1], width, stops_at_ends=True)
    rows = np.union1d(top, bottom)  # of which anything is needed
    wide = pixels[rows].astype(np.int32)
    across = wide[:, left] * of_left[:, None] + wide[:, right] * of_right[:, None]  # (R, w, C)
    above, below = (across[np.searchsorted(rows, each)] >> 4 for each in (top, bottom))
    weights = of_top[:, None, None], of_bottom[:, None, None]
    total = (weights[0] * above >> 16) + (weights[1] * below >> 16)
    resized: NDArray[np.uint8] = ((total + 2) >> 2).clip(0, 255).astype(np.uint8)
    return resized


def _neighbors(n: int, n_out: int, *, stops_at_ends: bool) -> tuple[NDArray[Any], ...]:
    """Of each output the two inputs between which it lies, and their weights in parts of 2048.

    OpenCV drops the farther input beyond the ends along rows only; along columns it counts the last
    one twice, which rounds differently.
    """
    position = ((np.arange(n_out) + 0.5) * (n / n_out) - 0.5).astype(np.float32)
    first = np.floor(position).astype(np.int64)
    part = position - first.astype(np.float32)
    if stops_at_ends:
        part = np.where((first < 0) | (first >= n - 1), np.float32(0), part)
        first = first.clip(0, n - 1)
    weights = (np.rint(each * 2**_BITS).astype(np.int32) for each in (np.float32(1) - part, part))
    return first.clip(0, n - 1), (first + 1).clip(0, n - 1), *weights
