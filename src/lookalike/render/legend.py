"""The color bars of maps, with their scales and units."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from lookalike.render.brush import Brush
from lookalike.render.colors import palette
from lookalike.render.layout import Sheet, blank, row, stack
from lookalike.render.placement import sees_all
from lookalike.render.published import jet_colors
from lookalike.render.text import INK, MUTED, text_line, text_width
from lookalike.types import ColorScale, Geometry

_ADDITIVE_UNIT = "contribution to the similarity per 1 % of the area seen"
_HEAT_UNIT = "relative weight of each cell, no sum"
_OWN_ENDS = "each map between its own lowest and highest value"
_OWN_SIDES = "query and match each in a range of its own"

_GROUND = (226, 226, 226)  # stands for the photo under the colors


def unit_of(brush: Brush, *, additive: bool) -> str:
    """Return what the values of the maps are, and whether all are drawn in one range."""
    unit = _ADDITIVE_UNIT if additive else _HEAT_UNIT
    if brush.shared is None:
        return f"{unit}; {_OWN_ENDS}"
    return unit if brush.of_queries is None else f"{unit}; {_OWN_SIDES}"


def legend(
    scale: ColorScale,
    title: str,
    sheet: Sheet,
    *,
    geometries: Sequence[Geometry],
    ends: tuple[str, str] = ("apart", "together"),
) -> Image.Image:
    """Draw the bar of a scale that maps share, with a title, numbers, and a label for each end: RGB."""
    reach = math.ceil(max(text_width(word, sheet.small) for word in ends))  # keeps the bar in the middle
    sides = [blank(reach + 1, sheet.line) for _ in ends]
    for side, word, align in zip(sides, ends, (1.0, 0.0), strict=True):
        label = text_line(word, sheet.small, color=MUTED)
        side.paste(label, (round((side.width - label.width) * align), 0))
    words = [number(scale.low), number(scale.zero), number(scale.high)]
    bar = _labeled(color_bar(scale, sheet.inner // 3, _bar_height(sheet)), words, sheet)
    return captioned(row([sides[0], bar, sides[1]], round(sheet.small / 2)), title, sheet, geometries)


def own_bar(scale: ColorScale, width: int, sheet: Sheet, *, colors: str) -> Image.Image:
    """Draw the bar of one map alone, ``width`` pixels wide, with its ends and their distance: RGB."""
    if scale.is_flat:
        return text_line(ends_in_words(scale), sheet.small, color=MUTED, max_width=width)
    low, high = _end_numbers(scale)
    spread = "0" if scale.crosses_zero else spreads_in_words([scale])
    if text_width(low + spread + high, sheet.small) > 0.6 * width:
        spread = ""
    bar = color_bar(scale, max(1, width - _overhang([low, high], sheet)), _bar_height(sheet), colors=colors)
    zero = -scale.low / (scale.high - scale.low) if scale.crosses_zero else None
    return _labeled(bar, [low, spread, high], sheet, middle=zero)


def ends_bar(scales: Sequence[ColorScale], sheet: Sheet, *, colors: str) -> Image.Image:
    """Draw one bar for maps that are each drawn between their own ends, without numbers: RGB."""
    with_signs = colors != "jet" and any(scale.crosses_zero for scale in scales)
    scale = ColorScale(-1.0 if with_signs else 0.0, 1.0, 0.0)
    words = ["below zero" if with_signs else "lowest", "0" if with_signs else "", "highest"]
    bar = color_bar(scale, sheet.inner // 3, _bar_height(sheet), colors=colors)
    return _labeled(bar, words, sheet)


def captioned(
    bar: Image.Image | None, title: str, sheet: Sheet, geometries: Sequence[Geometry]
) -> Image.Image:
    """Draw a title and the bar below it; if the model did not see all of an image, a line says so: RGB."""
    parts = [text_line(title, sheet.small, color=MUTED, max_width=sheet.inner)]
    if bar is not None:
        parts.append(bar)
    if any(not sees_all(geometry) for geometry in geometries):
        parts.append(text_line("gray veil: not seen by the model", sheet.small, color=MUTED))
    return stack(parts, round(sheet.small * 0.3), align=0.5)


def number(value: float, digits: int = 3) -> str:
    """Format significant digits with a sign; zero is "0"."""
    return "0" if value == 0 else f"{value:+#.{digits}g}".removesuffix(".")


def spreads_in_words(scales: Sequence[ColorScale]) -> str:
    """Return the smallest and largest spread of the maps of one sign; empty if each has both signs."""
    spreads = [scale.spread for scale in scales if not scale.crosses_zero]
    if not spreads:
        return ""
    least, most = (f"{100 * spread:.2g}" for spread in (min(spreads), max(spreads)))
    return f"spread {least} %" if least == most else f"spread {least} to {most} %"


def ends_in_words(scale: ColorScale) -> str:
    """Return the ends of a map's own range, with enough digits to tell them apart."""
    low, high = _end_numbers(scale)
    if scale.is_flat:
        return f"{high} everywhere"
    return f"{low} to {high}" + ("" if scale.crosses_zero else f", {spreads_in_words([scale])}")


def color_bar(scale: ColorScale, width: int, height: int, *, colors: str = "lookalike") -> Image.Image:
    """Draw the colors from a scale's low end to its high end, on a gray in place of the photo: RGB."""
    values = np.tile(np.linspace(scale.low, scale.high, width), (height, 1))
    relative = scale.relative(values)
    if colors == "jet":
        return Image.fromarray(jet_colors(relative))
    ground = Image.new("RGBA", (width, height), (*_GROUND, 255))
    return Image.alpha_composite(ground, Image.fromarray(palette().colorize(relative))).convert("RGB")


def _end_numbers(scale: ColorScale) -> tuple[str, str]:
    """Both ends with so many digits that their distance has two, and at least three."""
    digits = 3
    if not scale.is_flat:
        digits = max(digits, 2 - math.floor(math.log10(scale.spread)))
    return number(scale.low, digits), number(scale.high, digits)


def _bar_height(sheet: Sheet) -> int:
    return round(sheet.small * 0.95)


def _overhang(words: Sequence[str], sheet: Sheet) -> int:
    """By how much the labels of the ends are wider than the bar."""
    return 2 * (math.ceil(max(text_width(word, sheet.small) for word in words)) // 2 + 1)


def _labeled(
    bar: Image.Image, words: Sequence[str], sheet: Sheet, *, middle: float | None = 0.5
) -> Image.Image:
    """A bar with labels at its ends and between them, each at a tick; without a middle only text."""
    labels = [text_line(word, sheet.small, color=INK) for word in words]
    overhang = _overhang([words[0], words[-1]], sheet) // 2
    tick = round(sheet.small * 0.3)
    image = blank(bar.width + 2 * overhang, bar.height + tick + labels[0].height)
    image.paste(bar, (overhang, 0))
    draw = ImageDraw.Draw(image)
    first_end = overhang + labels[0].width // 2
    last_start = overhang + bar.width - labels[-1].width // 2
    for part, word, label in zip((0.0, middle, 1.0), words, labels, strict=True):
        x = overhang + round((0.5 if part is None else part) * (bar.width - 1))
        left = x - label.width // 2
        collides = part not in (0.0, 1.0) and not first_end < left < last_start - label.width
        if not word or collides:
            continue
        if part is not None:
            draw.line([(x, bar.height), (x, bar.height + tick)], INK)
        image.paste(label, (left, bar.height + tick))
    return image
