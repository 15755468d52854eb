"""Common unit (per 1 % of the area seen) and common color range, which make maps comparable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from lookalike.types import Explanation, FloatArray, ImageMap

_FEW = 3.0  # within this factor two sides are called alike


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


def side_limits(explanations: Sequence[Explanation]) -> tuple[float, float]:
    """Return the limits of the color ranges of the queries' maps and of the matches', per 1 % of the area.

    Both are the larger one, so that all maps compare and a weak map looks weak. They differ where one is more
    than three times the other although both sides carry about as much: a query limited to a box spreads its
    share over all that was seen of it, and one range would leave its map blank. Raises ValueError as
    ``shared_range`` does.
    """
    sides = [each.query for each in explanations], [each.match for each in explanations]
    query, match = (shared_range(*(per_percent(side).values for side in maps))[1] for maps in sides)
    carried = [max(float(np.abs(side.values).sum()) for side in maps) for maps in sides]
    limits, limit = (query, match), max(query, match)
    differ = limit > _FEW * min(limits) and max(carried) <= _FEW * min(carried)
    return limits if differ else (limit, limit)


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
