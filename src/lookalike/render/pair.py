"""Query and match side by side, with their maps."""

from __future__ import annotations

from PIL import Image

from lookalike.render.brush import Brush, density, photo
from lookalike.render.graph import graph_parts
from lookalike.render.layout import Sheet, composed, justified, row, side_title, stack
from lookalike.render.legend import captioned, legend, own_bar, unit_of
from lookalike.render.text import MUTED, text_line
from lookalike.render.words import word_maps
from lookalike.types import Explanation, GraphExplanation, ImageMap, TextExplanation


def side_by_side(
    explanation: Explanation, *, colors: str = "lookalike", width: int = 1200, smooth: bool = True
) -> Image.Image:
    """Draw query and match, each as a photo and under its map, with caption and legend: RGB.

    The image is ``width`` pixels wide (480 or more); its height depends on the photos. Attributions are
    drawn per 1 % of the area that the network saw, so grids of different sizes are comparable, in one
    range around zero, or in one for each side where one of both would be blank. Heat maps, which promise
    no sum, are drawn each between its own ends, with a bar of its own. Of a ``GraphExplanation``, levels,
    corrections and linked nodes follow; a ``TextExplanation`` is drawn by ``word_maps``. Colors are
    "lookalike" (color-blind safe), or "jet" for the look of
    the papers' pictures: gray photo, colors added to it, cubic enlargement, each map between its own ends.
    Raises ValueError for maps that are not finite, a width that is too small and unknown colors.
    """
    if isinstance(explanation, TextExplanation):
        return word_maps(explanation, colors=colors, width=width, smooth=smooth)
    sheet, brush = Sheet(width), Brush.of([explanation], colors=colors, smooth=smooth)
    sides = {"query": explanation.query, "match": explanation.match}
    query_size, match_size = (side.picture.original_size for side in sides.values())
    sizes = justified(query_size, match_size, sheet.inner, sheet.gap)
    columns = [
        _column(role, density(explanation, side), size, brush, sheet)
        for (role, side), size in zip(sides.items(), sizes, strict=True)
    ]
    geometries = [side.geometry for side in sides.values()]
    unit = unit_of(brush, additive=explanation.additive)
    if brush.shared is None or brush.of_queries is not None:
        below = captioned(None, unit, sheet, geometries)
    else:
        below = legend(brush.shared, unit, sheet, geometries=geometries)
    parts = [row(columns, sheet.gap), below]
    if isinstance(explanation, GraphExplanation):
        parts += graph_parts(explanation, sheet, brush)
    return composed(_headline(explanation, sheet), parts, sheet)


def _headline(explanation: Explanation, sheet: Sheet) -> Image.Image:
    """The similarity, and below it the method, model and residual: RGB."""
    title = text_line(f"similarity {explanation.similarity:z.3f}", sheet.large, bold=True)
    facts = " · ".join([f"method {explanation.method}", f"model {explanation.model}", _missing(explanation)])
    return stack([title, text_line(facts, sheet.small, color=MUTED, max_width=sheet.inner)])


def _missing(explanation: Explanation) -> str:
    """The residuals in words, or that a heat map has none."""
    if not explanation.additive:
        return "heat maps: relative weights, no sum"
    query = _with_parts(f"{explanation.residual:z.3f}", explanation.query)
    match = _with_parts(f"{explanation.match_residual:z.3f}", explanation.match)
    return f"residual {query}" if query == match else f"residual {query} (query), {match} (match)"


def _with_parts(residual: str, side: ImageMap) -> str:
    """A residual with its parts, where they are known."""
    return f"{residual}: {side.residual_words}" if side.residual_words else residual


def _column(role: str, side: ImageMap, size: tuple[int, int], brush: Brush, sheet: Sheet) -> Image.Image:
    """Title, photo, and photo under the map, stacked; below them the bar of a map that has one of its own."""
    title = side_title(role, side.name, sheet, size[1])
    has_own_bar = brush.shared is None or brush.of_queries is not None
    brush = brush.for_queries() if role == "query" else brush
    parts = [title, photo(side.picture, size), brush.paint(side, size)]
    if has_own_bar:
        parts.append(own_bar(brush.scale(side, size), size[1], sheet, colors=brush.colors))
    return stack(parts, sheet.gap // 2)
