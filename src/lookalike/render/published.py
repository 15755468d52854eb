"""The look of the papers' pictures: a map in rainbow colors, added to the gray photo.

The look of the pictures published with Black, Stylianou, Pless and Souvenir, *Visualizing Paired Image
Similarity in Transformer Networks*, WACV 2022: each map is enlarged by a cubic, its own lowest value
becomes dark blue and its highest dark red, and colors and photo are added and divided by the brightest sum.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.render.placement import place_cubic, seen
from lookalike.render.ranges import checked_map
from lookalike.types import ColorScale, FloatArray, ImageMap

_LUMA = np.array([0.2989, 0.587, 0.114], np.float32)  # of red, green, blue


@cache
def jet_table() -> NDArray[np.uint8]:
    """Return the rainbow from dark blue to dark red: (256, 3) RGB."""
    centers = np.array([0.75, 0.5, 0.25])  # where red, green and blue are strongest
    t = np.arange(256)[:, None] / 255
    return np.asarray(np.floor(255 * np.clip(1.5 - 4 * np.abs(t - centers), 0, 1) + 0.5), dtype=np.uint8)


def jet_colors(relative: FloatArray) -> NDArray[np.uint8]:
    """Return colors (..., 3) of relative values (...) in [0, 1]."""
    return np.asarray(jet_table()[(np.clip(relative, 0.0, 1.0) * 255).astype(np.uint8)])


def published_scale(image_map: ImageMap, size: tuple[int, int]) -> ColorScale:
    """Return the ends of a map as enlarged for the picture at size (H, W).

    A cubic overshoots, so they lie somewhat beyond the ends of the cells.
    """
    cells = ColorScale.between_ends(checked_map(image_map.values), keep_sign=False)
    inside = seen(image_map.geometry, size)
    if cells.is_flat or not inside.any():
        return cells
    enlarged = place_cubic(cells.relative(image_map.values), image_map.geometry, size)[inside]
    reach = cells.high - cells.low
    low, high = (cells.low + reach * float(end) for end in (enlarged.min(), enlarged.max()))
    return ColorScale(low, high, low)


def published(photo: Image.Image, relative: FloatArray, mask: NDArray[np.bool_]) -> Image.Image:
    """Add the colors of relative values (H, W) in [0, 1] to the gray photo, where the mask is True: RGB.

    The rest is the gray photo alone.
    """
    gray = np.asarray(photo, dtype=np.float32) @ _LUMA / 255
    added = gray[..., None] + jet_colors(relative).astype(np.float32) / 255
    brightest = added[mask].max() if mask.any() else np.float32(1.0)
    shown = np.where(mask[..., None], added / brightest, gray[..., None])
    return Image.fromarray((shown * 255).astype(np.uint8))
