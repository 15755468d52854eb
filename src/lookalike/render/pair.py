"""Query and match side by side, with their maps."""

from __future__ import annotations

from functools import partial

from PIL import Image

from lookalike.render.colors import palette
from lookalike.render.graph import graph_parts
from lookalike.render.layout import Sheet, composed, justified, row, side_title, stack
from lookalike.render.legend import legend, three_digits, unit_of
from lookalike.render.overlay import explanation_limit, painted, photo
from lookalike.render.ranges import per_percent
from lookalike.render.text import MUTED, text_line
from lookalike.types import Explanation, GraphExplanation, ImageMap


def side_by_side(
    explanation: Explanation, *, colors: str = "lookalike", width: int = 1200, smooth: bool = True
) -> Image.Image:
    """Draw query and match, each as a photo and under its map, with caption and legend: RGB.

    The image is ``width`` pixels wide (480 or more); its height depends on the photos. Both maps are
    drawn per 1 % of the area that the network saw, so grids of different sizes are comparable, in one
    range that the legend shows. Of a ``GraphExplanation``, levels, corrections and linked nodes follow.
    Colors are "lookalike" (signed) or "jet" (positive part). Raises
    ValueError for maps that are not finite, a width that is too small and unknown colors.
    """
    sheet, chosen = Sheet(width), palette(colors)
    limit = explanation_limit([explanation], chosen)
    sides = {"query": explanation.query, "match": explanation.match}
    query_size, match_size = (side.picture.original_size for side in sides.values())
    sizes = justified(query_size, match_size, sheet.inner, sheet.gap)
    draw = partial(painted, limit=limit, colors=chosen, smooth=smooth, gray=chosen.gray)
    columns = [
        _column(role, side, draw(per_percent(side), size), sheet)
        for (role, side), size in zip(sides.items(), sizes, strict=True)
    ]
    geometries = [side.geometry for side in sides.values()]
    scale = legend(chosen, limit, unit_of(explanation.additive), sheet, geometries=geometries)
    parts = [row(columns, sheet.gap), scale]
    if isinstance(explanation, GraphExplanation):
        parts += graph_parts(explanation, sheet, chosen, smooth=smooth)
    return composed(_headline(explanation, sheet), parts, sheet)


def _headline(explanation: Explanation, sheet: Sheet) -> Image.Image:
    """The similarity, and below it the method, model and residual: RGB."""
    title = text_line(f"similarity {explanation.similarity:.3f}", sheet.large, bold=True)
    facts = " · ".join([f"method {explanation.method}", f"model {explanation.model}", _missing(explanation)])
    return stack([title, text_line(facts, sheet.small, color=MUTED, max_width=sheet.inner)])


def _missing(explanation: Explanation) -> str:
    """The residuals in words, or that a heat map has none."""
    if not explanation.additive:
        return "heat maps: relative weights, no sum"
    query = _with_parts(three_digits(explanation.residual), explanation.query)
    match = _with_parts(three_digits(explanation.match_residual), explanation.match)
    return f"residual {query}" if query == match else f"residual {query} (query), {match} (match)"


def _with_parts(residual: str, side: ImageMap) -> str:
    """A residual with its parts, where they are known."""
    return f"{residual}: {side.residual_words}" if side.residual_words else residual


def _column(role: str, side: ImageMap, under_map: Image.Image, sheet: Sheet) -> Image.Image:
    """Title, photo, and photo under the map, stacked."""
    size = (under_map.height, under_map.width)
    title = side_title(role, side.name, sheet, size[1])
    return stack([title, photo(side.picture, size), under_map], sheet.gap // 2)
