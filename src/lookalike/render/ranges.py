"""Common unit (per 1 % of the area seen) and common color range, which make maps comparable."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from lookalike.types import FloatArray, ImageMap


def shared_range(*maps: FloatArray) -> tuple[float, float]:
    """Return one symmetric color range (-limit, limit) for maps that are compared side by side.

    The limit is the largest absolute value of all maps, each (h, w) float32 of any size; it is 0 if all
    are zero. Raises ValueError without maps, and for a map that is not 2-d, is empty, or holds NaN or
    infinite values.
    """
    if not maps:
        raise ValueError("a shared range needs at least one map, got none")
    limit = max(float(np.abs(checked_map(values)).max()) for values in maps)
    return -limit, limit


def per_percent(image_map: ImageMap) -> ImageMap:
    """Return the map per 1 % of the area that the network saw, instead of per cell.

    Values per cell depend on the size of the cells, so maps on 7x7 and 10x14 grids can't share a color
    range; values per area can. The mean of the result, times 100, is the sum of the original map.
    """
    values = checked_map(image_map.values)
    return replace(image_map, values=(values * (values.size / 100)).astype(np.float32))


def checked_map(values: FloatArray) -> FloatArray:
    """Return the map (h, w) as float32. Raises ValueError if it is not 2-d, is empty or is not finite."""
    values = np.asarray(values, dtype=np.float32)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"a map needs two axes (h, w) of at least one cell, got shape {values.shape}")
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"the map holds {values[row, column]} at row {row}, column {column} "
            f"({len(bad)} of {values.size} values are not finite); such a map cannot be drawn"
        )
    return values
