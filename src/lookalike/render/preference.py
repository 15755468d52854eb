"""The signed difference between two matches, as a map on the query."""

from __future__ import annotations

from PIL import Image

from lookalike.render.brush import Brush, photo
from lookalike.render.colors import palette
from lookalike.render.layout import Sheet, composed, framed, row, side_title, stack
from lookalike.render.legend import legend, number
from lookalike.render.placement import fitted
from lookalike.render.ranges import per_percent, shared_range
from lookalike.render.text import MUTED, Color, text_line
from lookalike.types import ColorScale, Difference, ImageMap, Picture

_UNIT = "difference of the contributions per 1 % of the area seen"


def preference(difference: Difference, *, width: int = 1200, smooth: bool = True) -> Image.Image:
    """Draw the query under its signed map, and both candidates with their similarities beside it: RGB.

    Orange cells favor the preferred match, blue ones the other; the candidates' frames have the same
    colors. The image is ``width`` pixels wide (480 or more). Raises ValueError for a map that is not
    finite and for a width that is too small.
    """
    sheet = Sheet(width)
    density = per_percent(difference.query)
    scale = ColorScale.symmetric(shared_range(density.values)[1])
    query = _query(density, Brush("lookalike", smooth, scale), sheet)
    room = (max(query.height, round(sheet.inner * 0.44)), sheet.inner - query.width - 2 * sheet.gap)
    body = row([query, _candidates(difference, sheet, room)], 2 * sheet.gap)
    ends = ("for the other", "for the preferred")
    bar = legend(scale, _UNIT, sheet, geometries=[difference.query_geometry], ends=ends)
    return composed(_headline(difference, sheet), [body, bar], sheet)


def _headline(difference: Difference, sheet: Sheet) -> Image.Image:
    title = f"why {difference.preferred.name} above {difference.other.name}"
    gap = number(round(difference.preferred_similarity - difference.other_similarity, 3))
    facts = f"difference of similarity {gap} · model {difference.model} · residual {difference.residual:z.3f}"
    return stack(
        [
            text_line(title, sheet.large, max_width=sheet.inner, bold=True),
            text_line(facts, sheet.small, color=MUTED, max_width=sheet.inner),
        ]
    )


def _query(density: ImageMap, brush: Brush, sheet: Sheet) -> Image.Image:
    side = round(sheet.inner * 0.58)
    under_map = brush.paint(density, fitted(density.picture.original_size, (side, side)))
    return stack([side_title("query", density.name, sheet, side), under_map], sheet.gap // 2)


def _candidates(difference: Difference, sheet: Sheet, room: tuple[int, int]) -> Image.Image:
    """The preferred match above the other one, together about as high as room (H, W)."""
    box, table = ((room[0] - sheet.gap) // 2, room[1]), palette().table
    pairs = (
        ("preferred", difference.preferred, difference.preferred_similarity, table[-1]),
        ("other", difference.other, difference.other_similarity, table[0]),
    )
    return stack(
        [
            _candidate(
                f"{role} {similarity:z.3f}", picture, (int(end[0]), int(end[1]), int(end[2])), sheet, box
            )
            for role, picture, similarity, end in pairs
        ],
        sheet.gap,
    )


def _candidate(title: str, picture: Picture, color: Color, sheet: Sheet, box: tuple[int, int]) -> Image.Image:
    """Title with the similarity, and the photo in a frame, at most as large as box (H, W)."""
    words = side_title(title, picture.name, sheet, box[1])
    frame = max(2, sheet.gap // 5)
    free = (max(1, box[0] - words.height - sheet.gap // 2 - 2 * frame), max(1, box[1] - 2 * frame))
    image = photo(picture, fitted(picture.original_size, free))
    return stack([words, framed(image, color, frame)], sheet.gap // 2)
