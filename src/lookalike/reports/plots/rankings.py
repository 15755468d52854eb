"""Image of a query and its first results, framed by color and marked by a sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from PIL import Image, ImageDraw

from lookalike.render.layout import Sheet, centered, composed, row, stack
from lookalike.render.placement import fitted
from lookalike.render.text import MUTED, PAPER, Color, text_line

Verdict = Literal["right", "wrong", "ignored"]

# Distinct as grays in print; the signs serve readers who don't see the colors.
COLORS: dict[str, Color] = {
    "query": (236, 150, 20),
    "right": (0, 128, 72),
    "wrong": (198, 40, 48),
    "ignored": (140, 144, 150),
}
_BACKGROUND = (240, 241, 243)
_WORDS = {"query": "query", "right": "right", "wrong": "wrong", "ignored": "not counted (junk)"}
_FINER = 4


@dataclass(frozen=True)
class Shown:
    """One result at its position."""

    image: Image.Image  # RGB
    verdict: Verdict
    rank: int  # from 1
    rank_before: int | None = None  # from 1, where there was another ranking; 0: it was not in that list


@dataclass(frozen=True)
class ShownRanking:
    """The first results of one ranking, best first."""

    title: str  # "before", "after aqe", ...
    results: tuple[Shown, ...]


def ranking_plot(
    query: Image.Image, name: str, rankings: Sequence[ShownRanking], *, width: int = 1400
) -> Image.Image:
    """Draw the query at the left and a line of results for each ranking beside it: RGB.

    Green and a tick: right. Red and a cross: wrong. Gray and a dash: junk, not counted. Orange and Q: the
    query. Raises ValueError if there are no results.
    """
    columns = max((len(ranking.results) for ranking in rankings), default=0)
    if not columns:
        raise ValueError("a ranking plot shows one result or more, got none")
    sheet = Sheet(width)
    side = (sheet.inner - (columns + 1) * sheet.gap) // (columns + 1)
    lines = [_line(ranking, side, sheet) for ranking in rankings]
    headline = text_line(name, sheet.large, max_width=sheet.inner)
    body = row([_cell(query, "query", side), stack(lines, sheet.gap)], 2 * sheet.gap, align=0.5)
    verdicts = [result.verdict for ranking in rankings for result in ranking.results]
    return composed(
        headline, [body, _legend([v for v in _WORDS if v == "query" or v in verdicts], sheet)], sheet
    )


def _line(ranking: ShownRanking, side: int, sheet: Sheet) -> Image.Image:
    cells = [
        stack([_caption(shown, side, sheet), _cell(shown.image, shown.verdict, side)])
        for shown in ranking.results
    ]
    return stack([text_line(ranking.title, sheet.small, bold=True), row(cells, sheet.gap)])


def _caption(shown: Shown, side: int, sheet: Sheet) -> Image.Image:
    """The rank, and the rank before if it was another."""
    moved = shown.rank_before is not None and shown.rank_before != shown.rank
    was = "" if not moved else f" · was {shown.rank_before}" if shown.rank_before else " · not listed"
    words = row([text_line(str(shown.rank), sheet.small), text_line(was, sheet.small, color=MUTED)])
    return centered(words.crop((0, 0, min(words.width, side), words.height)), side)


def _cell(image: Image.Image, kind: str, side: int) -> Image.Image:
    """The image in a square frame of the kind's color, with its sign in the corner."""
    thickness = max(3, side // 26)
    cell = Image.new("RGB", (side, side), COLORS[kind])
    inner = side - 2 * thickness
    height, width = fitted((image.height, image.width), (inner, inner))
    area = Image.new("RGB", (inner, inner), _BACKGROUND)
    photo = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS, reducing_gap=2.0)
    area.paste(photo, ((inner - width) // 2, (inner - height) // 2))
    cell.paste(area, (thickness, thickness))
    sign = _sign(kind, max(16, side // 5))
    cell.paste(sign, (0, 0), sign)
    return cell


def _sign(kind: str, side: int) -> Image.Image:
    """A white tick, cross, dash or Q on the kind's color: RGBA."""
    n = side * _FINER
    large = Image.new("RGBA", (n, n), (*COLORS[kind], 255))
    draw, thick = ImageDraw.Draw(large), round(n * 0.11)
    if kind == "right":
        draw.line([(0.2 * n, 0.52 * n), (0.43 * n, 0.74 * n), (0.8 * n, 0.28 * n)], PAPER, thick, "curve")
    elif kind == "wrong":
        draw.line([(0.26 * n, 0.26 * n), (0.74 * n, 0.74 * n)], PAPER, thick)
        draw.line([(0.74 * n, 0.26 * n), (0.26 * n, 0.74 * n)], PAPER, thick)
    elif kind == "ignored":
        draw.line([(0.22 * n, 0.5 * n), (0.78 * n, 0.5 * n)], PAPER, thick)
    else:
        draw.ellipse([0.2 * n, 0.18 * n, 0.76 * n, 0.74 * n], outline=PAPER, width=thick)
        draw.line([(0.54 * n, 0.54 * n), (0.82 * n, 0.82 * n)], PAPER, thick)
    return large.reduce(_FINER)


def _legend(kinds: Sequence[str], sheet: Sheet) -> Image.Image:
    side = sheet.line
    entries = [
        row(
            [_sign(kind, side).convert("RGB"), text_line(_WORDS[kind], sheet.small)],
            sheet.gap // 3,
            align=0.5,
        )
        for kind in kinds
    ]
    return row(entries, 2 * sheet.gap, align=0.5)
