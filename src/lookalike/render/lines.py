"""Lines between matching cells of two photos."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from lookalike.render.brush import photo
from lookalike.render.colors import ramp
from lookalike.render.layout import Sheet, blank, composed, justified, row, side_title, stack
from lookalike.render.legend import number
from lookalike.render.placement import canvas_box
from lookalike.render.text import INK, MUTED, PAPER, Color, disc, text_line
from lookalike.types import CellMatch, CellSimilarity, Geometry

_Box = tuple[float, float, float, float]  # left, top, right, bottom

# OKLCH, from the smallest contribution drawn to the largest: violet, magenta, orange, yellow
_ANCHORS = ((0.55, 0.19, 295.0), (0.63, 0.21, 350.0), (0.76, 0.16, 58.0), (0.90, 0.17, 100.0))
_FINER = 2  # antialiasing: lines are drawn at this scale and then reduced


def match_lines(cell_similarity: CellSimilarity, *, n: int = 12, width: int = 1200) -> Image.Image:
    """Draw both photos with numbered lines between the n best matching cells, and list them: RGB.

    A line's number is its rank; color and thickness show its contribution to the similarity, from
    the smallest drawn to the largest. The list below gives each contribution and the cosine of the
    two cells. The image is ``width`` pixels wide (480 or more). Raises ValueError for n below 1 and
    for a width that is too small.
    """
    if n < 1:
        raise ValueError(f"n, the number of lines to draw, must be at least 1, got {n}")
    sheet, matches = Sheet(width), cell_similarity.matches[:n]
    links = _links(matches, sheet)
    scene = _photos(cell_similarity, links, sheet)
    parts = [scene, _list(links, sheet)] if links else [scene]
    return composed(_headline(cell_similarity, len(matches), sheet), parts, sheet)


class _Link(NamedTuple):
    rank: int
    match: CellMatch
    color: Color
    thickness: float  # pixels


def _links(matches: Sequence[CellMatch], sheet: Sheet) -> list[_Link]:
    """The matches with rank, color and thickness, largest contribution first."""
    contributions = np.array([match.contribution for match in matches])
    spread = float(np.ptp(contributions)) if len(matches) else 0.0
    t = (contributions - contributions.min()) / spread if spread > 0 else np.ones(len(matches))
    colors = np.rint(ramp(_ANCHORS, t) * 255).astype(int).tolist()
    return [
        _Link(rank, match, (red, green, blue), sheet.width / 600 * (1 + float(part)))
        for rank, (match, (red, green, blue), part) in enumerate(zip(matches, colors, t, strict=True), 1)
    ]


def _photos(cell_similarity: CellSimilarity, links: Sequence[_Link], sheet: Sheet) -> Image.Image:
    """Both photos with titles above and the links drawn over them."""
    gap = 3 * sheet.gap
    query_size, match_size = justified(
        cell_similarity.query.picture.original_size,
        cell_similarity.match.picture.original_size,
        sheet.inner,
        gap,
    )
    photos = [
        _quiet(photo(cell_similarity.query.picture, query_size)),
        _quiet(photo(cell_similarity.match.picture, match_size)),
    ]
    ends = [
        (
            _cell(
                link.match.query_cell,
                cell_similarity.query.geometry,
                cell_similarity.query.grid,
                query_size,
                0,
            ),
            _cell(
                link.match.match_cell,
                cell_similarity.match.geometry,
                cell_similarity.match.grid,
                match_size,
                query_size[1] + gap,
            ),
        )
        for link in links
    ]
    scene = _drawn(row(photos, gap), links, ends, sheet)
    names = blank(scene.width, sheet.line)
    names.paste(side_title("query", cell_similarity.query.name, sheet, query_size[1]), (0, 0))
    names.paste(
        side_title("match", cell_similarity.match.name, sheet, match_size[1]), (query_size[1] + gap, 0)
    )
    return stack([names, scene], sheet.gap // 2)


def _cell(
    cell: tuple[int, int], geometry: Geometry, grid: tuple[int, int], size: tuple[int, int], offset: int
) -> _Box:
    """The cell's box on the scene, clipped to its photo of size (H, W) at a horizontal offset."""
    left, top, right, bottom = canvas_box(geometry.cell_box(*cell, grid), geometry, size)
    x = np.clip([left, right], 0, size[1] - 1) + offset
    y = np.clip([top, bottom], 0, size[0] - 1)
    return float(x[0]), float(y[0]), float(x[1]), float(y[1])


def _drawn(
    scene: Image.Image, links: Sequence[_Link], ends: Sequence[tuple[_Box, _Box]], sheet: Sheet
) -> Image.Image:
    """The scene with outlined cells, lines and numbers; the best link is drawn last."""
    layer = Image.new("RGBA", (scene.width * _FINER, scene.height * _FINER))
    draw = ImageDraw.Draw(layer)
    for link, boxes in reversed(list(zip(links, ends, strict=True))):
        for color, extra in ((INK, 2.0), (link.color, 0.0)):  # a dark edge is visible on any photo
            thickness = round((link.thickness + extra) * _FINER)
            for left, top, right, bottom in boxes:
                outer = (left - extra / 2, top - extra / 2, right + extra / 2, bottom + extra / 2)
                draw.rectangle([_FINER * x for x in outer], outline=color, width=thickness)
            draw.line([_FINER * x for box in boxes for x in _center(box)], color, thickness)
    lines = layer.resize(scene.size, Image.Resampling.BOX)
    scene = Image.alpha_composite(scene.convert("RGBA"), lines).convert("RGB")
    for link, boxes in reversed(list(zip(links, ends, strict=True))):
        badge = _badge(link, sheet)
        for x, y in map(_center, boxes):
            scene.paste(badge, (round(x - badge.width / 2), round(y - badge.height / 2)), badge)
    return scene


def _list(links: Sequence[_Link], sheet: Sheet) -> Image.Image:
    """Number, contribution and cosine of each link in up to four columns."""
    title = text_line("contribution to the similarity (cosine of the two cells)", sheet.small, color=MUTED)
    entries = [
        row(
            [
                _on_paper(_badge(link, sheet)),
                text_line(number(link.match.contribution), sheet.small),
                text_line(f"({link.match.cosine:z.2f})", sheet.small, color=MUTED),
            ],
            round(sheet.small * 0.5),
            align=0.5,
        )
        for link in links
    ]
    width = max(entry.width for entry in entries)
    n_columns = max(1, min(4, (sheet.inner + 2 * sheet.gap) // (width + 2 * sheet.gap), len(entries)))
    n_rows = -(-len(entries) // n_columns)
    columns = [
        stack(entries[start : start + n_rows], sheet.gap // 4) for start in range(0, len(entries), n_rows)
    ]
    return stack([title, row(columns, 2 * sheet.gap)], sheet.gap // 2, align=0.5)


def _headline(cell_similarity: CellSimilarity, n_drawn: int, sheet: Sheet) -> Image.Image:
    title = text_line(f"similarity {cell_similarity.similarity:z.3f}", sheet.large, bold=True)
    total = sum(match.contribution for match in cell_similarity.matches[:n_drawn])
    lines = f"{n_drawn} of {len(cell_similarity.matches)} cells that are each other's best match"
    facts = f"model {cell_similarity.model} · {lines}" + (f" · together {number(total)}" if n_drawn else "")
    return stack([title, text_line(facts, sheet.small, color=MUTED, max_width=sheet.inner)])


def _badge(link: _Link, sheet: Sheet) -> Image.Image:
    """The link's number on a disc of its color: RGBA."""
    luma = 0.3 * link.color[0] + 0.59 * link.color[1] + 0.11 * link.color[2]
    ink = INK if luma > 120 else PAPER
    return disc(str(link.rank), 0.85 * sheet.small, face=link.color, ink=ink)


def _on_paper(badge: Image.Image) -> Image.Image:
    return Image.alpha_composite(Image.new("RGBA", badge.size, (*PAPER, 255)), badge).convert("RGB")


def _center(box: _Box) -> tuple[float, float]:
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def _quiet(image: Image.Image) -> Image.Image:
    """The photo with less color and contrast, so that the lines stand out."""
    gray = Image.blend(image, image.convert("L").convert("RGB"), 0.6)
    return Image.blend(gray, Image.new("RGB", image.size, PAPER), 0.25)
