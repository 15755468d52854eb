"""An image under the maps of words: all of them together, and each by itself."""

from __future__ import annotations

from PIL import Image

from lookalike.render.brush import Brush, density, photo
from lookalike.render.layout import Sheet, centered, composed, row, side_title, stack
from lookalike.render.legend import captioned, ends_bar, legend, unit_of
from lookalike.render.placement import fitted
from lookalike.render.ranges import shared_range
from lookalike.render.text import MUTED, text_line
from lookalike.types import ColorScale, ImageMap, TextExplanation

_COLUMNS = 4


def word_maps(
    explanation: TextExplanation, *, colors: str = "lookalike", width: int = 1200, smooth: bool = True
) -> Image.Image:
    """Draw an image, its map for the whole text, and a small one for each word or part: RGB.

    The small maps share a range of their own, for a word adds less than the text. The image is ``width``
    pixels wide (480 or more). Raises ValueError as ``side_by_side``.
    """
    sheet = Sheet(width)
    whole = _brush([density(explanation, explanation.match)], colors, smooth)
    size = fitted(explanation.match.picture.original_size, (round(width * 0.5), sheet.columns(2)))
    title = side_title("image", explanation.match.name, sheet, size[1])
    left = stack([title, photo(explanation.match.picture, size)], sheet.gap // 2)
    painted = whole.paint(density(explanation, explanation.match), size)
    right = stack([_title(explanation.text, explanation.similarity, sheet, size[1]), painted], sheet.gap // 2)
    parts = [row([left, right], sheet.gap), _legend(whole, explanation, sheet, "")]
    if len(explanation.parts) > 1:
        maps = [density(explanation, part.map) for part in explanation.parts]
        brush = _brush(maps, colors, smooth)
        tiles = _tiles(explanation, maps, brush, sheet)
        rows = [row(tiles[i : i + _COLUMNS], sheet.gap) for i in range(0, len(tiles), _COLUMNS)]
        below = "of each word, by leaving it out: " if explanation.by_words else "of each part: "
        parts += [stack(rows, sheet.gap), _legend(brush, explanation, sheet, below)]
    return composed(_headline(explanation, sheet), parts, sheet)


def _tiles(
    explanation: TextExplanation, maps: list[ImageMap], brush: Brush, sheet: Sheet
) -> list[Image.Image]:
    side = sheet.columns(_COLUMNS)
    size = fitted(explanation.match.picture.original_size, (side, side))
    tiles = []
    for part, image_map in zip(explanation.parts, maps, strict=True):
        title = _title(part.label, part.value, sheet, side)
        tiles.append(stack([centered(title, side), centered(brush.paint(image_map, size), side)]))
    return tiles


def _brush(maps: list[ImageMap], colors: str, smooth: bool) -> Brush:
    scale = ColorScale.symmetric(shared_range(*(each.values for each in maps))[1])
    return Brush(colors, smooth, None if colors == "jet" else scale)


def _title(label: str, value: float, sheet: Sheet, width: int) -> Image.Image:
    number = text_line(f"{value:+z.3f}", sheet.small, color=MUTED)
    pad = round(sheet.small * 0.6)
    word = text_line(label, sheet.small, max_width=max(1, width - number.width - pad))
    return row([word, number], pad)


def _legend(brush: Brush, explanation: TextExplanation, sheet: Sheet, about: str) -> Image.Image:
    unit, geometries = about + unit_of(brush, additive=True), [explanation.match_geometry]
    if brush.shared is None:
        return captioned(ends_bar([], sheet, colors=brush.colors), unit, sheet, geometries)
    return legend(brush.shared, unit, sheet, geometries=geometries, ends=("against", "for it"))


def _headline(explanation: TextExplanation, sheet: Sheet) -> Image.Image:
    title = text_line(f"similarity with words {explanation.similarity:z.3f}", sheet.large, bold=True)
    missing = explanation.match_residual
    words = explanation.match.residual_words
    residual = f"residual {missing:z.3f}" + (f": {words}" if words else "")
    facts = f"method {explanation.method} · model {explanation.model} · {residual}"
    lines = [title, text_line(facts, sheet.small, color=MUTED, max_width=sheet.inner)]
    if explanation.by_words and len(explanation.parts) > 1:
        together = dict(explanation.query.residual_parts)["words together"]
        note = (
            f"words together {together:+z.3f}: what no word carries by itself; cosines of words with images "
        )
        note += "are lower than those of images"
    else:
        note = "cosines of words with images are lower than those of images"
    return stack([*lines, text_line(note, sheet.small, color=MUTED, max_width=sheet.inner)])
