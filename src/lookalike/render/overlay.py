"""A photo under its map."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image

from lookalike.render.brush import Brush, density
from lookalike.render.colors import check_colors
from lookalike.render.placement import fitted
from lookalike.render.ranges import per_percent, shared_range
from lookalike.types import ColorScale, Explanation, ImageMap


def overlay(
    image_map: ImageMap,
    *,
    limit: float | None = None,
    additive: bool = True,
    colors: str = "lookalike",
    max_side: int = 1024,
    smooth: bool = True,
    dim_unseen: bool = True,
) -> Image.Image:
    """Draw a map (h, w) over its photo: RGB, longest side at most ``max_side`` pixels.

    An attribution is drawn from -limit to limit around zero, which is transparent; ``limit`` is in the
    map's own unit (by default its largest absolute value; use one limit for images that will be
    compared). A map that is not ``additive`` promises no sum, so it is drawn between its own ends, and so
    is every map in the papers' colors, "jet", on the gray photo. With ``dim_unseen``, what lies outside
    the model's input is veiled in gray. Raises ValueError for maps that are not finite or 2-d, a limit that
    is negative, not finite or given for a map between its own ends, and unknown colors.
    """
    if max_side < 1:
        raise ValueError(f"max_side must be at least 1 pixel, got {max_side}")
    check_colors(colors)
    own_ends = colors == "jet" or not additive
    if own_ends and limit is not None:
        raise ValueError(
            f"a limit of {limit} was given for a map that is drawn between its own ends "
            f"(additive={additive}, colors={colors!r}); leave it out"
        )
    reach = shared_range(image_map.values)[1] if limit is None else _checked_limit(limit)
    brush = Brush(colors, smooth, None if own_ends else ColorScale.symmetric(reach))
    return _drawn(brush, image_map, max_side, dim_unseen=dim_unseen)


def query_overlay(
    explanation: Explanation,
    *,
    among: Sequence[Explanation] = (),
    colors: str = "lookalike",
    max_side: int = 1024,
    smooth: bool = True,
) -> Image.Image:
    """Draw the query's map over its photo: RGB.

    Attributions have the color range that they share with the explanations of ``among``, and with the
    matches unless one of both would be blank; heat maps and "jet" are drawn each between its own ends.
    """
    brush = Brush.of([explanation, *among], colors=colors, smooth=smooth)
    return _drawn(brush.for_queries(), density(explanation, explanation.query), max_side)


def match_overlay(
    explanation: Explanation,
    *,
    among: Sequence[Explanation] = (),
    colors: str = "lookalike",
    max_side: int = 1024,
    smooth: bool = True,
) -> Image.Image:
    """Draw the match's map over its photo, as ``query_overlay`` does for the query: RGB."""
    brush = Brush.of([explanation, *among], colors=colors, smooth=smooth)
    return _drawn(brush, density(explanation, explanation.match), max_side)


def explanation_limit(explanations: Sequence[Explanation]) -> float:
    """Return the limit of the color range, per 1 % of the area seen, over all maps of the explanations."""
    return shared_range(
        *(per_percent(side).values for each in explanations for side in (each.query, each.match))
    )[1]


def _drawn(brush: Brush, image_map: ImageMap, max_side: int, *, dim_unseen: bool = True) -> Image.Image:
    original = image_map.picture.original_size
    largest = min(max_side, max(original))
    size = fitted(original, (largest, largest))
    return brush.paint(image_map, size, dim_unseen=dim_unseen, muted=False)


def _checked_limit(limit: float) -> float:
    """The limit of a color range; raises ValueError if it is negative or not finite."""
    if not np.isfinite(limit) or limit < 0:
        raise ValueError(f"the limit of a color range must be a finite number of 0 or more, got {limit}")
    return float(limit)
