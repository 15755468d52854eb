"""The color bar with its numbers: what a color stands for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from lookalike.render.colors import Palette
from lookalike.render.layout import Sheet, blank, row, stack
from lookalike.render.placement import sees_all
from lookalike.render.text import INK, MUTED, text_line, text_width
from lookalike.types import Geometry

ADDITIVE_UNIT = "contribution to the similarity per 1 % of the area seen"
HEAT_UNIT = "relative weight per 1 % of the area seen"

_GROUND = (226, 226, 226)  # stands for the photo under the colors


def unit_of(additive: bool) -> str:
    """The words for a map's unit, after ``per_percent``."""
    return ADDITIVE_UNIT if additive else HEAT_UNIT


def legend(
    colors: Palette,
    limit: float,
    title: str,
    sheet: Sheet,
    *,
    geometries: Sequence[Geometry],
    ends: tuple[str, str] = ("apart", "together"),
) -> Image.Image:
    """Color bar, numbers at its ends and middle, title above, and what the two ends mean: RGB.

    For a palette without negative colors the word of the lower end is left out. Where a network
    did not see all of an image, a line says what the gray veil is.
    """
    words = (ends[0] if colors.signed else "", ends[1])
    reach = math.ceil(max(text_width(word, sheet.small) for word in words))  # keeps the bar in the middle
    sides = [blank(reach + 1, sheet.line) for _ in words]
    for side, word, align in zip(sides, words, (1.0, 0.0), strict=True):
        label = text_line(word, sheet.small, color=MUTED)
        side.paste(label, (round((side.width - label.width) * align), 0))
    bar = _scaled_bar(colors, limit, sheet.inner // 3, sheet.small)
    parts = [
        text_line(title, sheet.small, color=MUTED),
        row([sides[0], bar, sides[1]], round(sheet.small / 2)),
    ]
    if any(not sees_all(geometry) for geometry in geometries):
        parts.append(text_line("gray veil: not seen by the model", sheet.small, color=MUTED))
    return stack(parts, round(sheet.small * 0.3), align=0.5)


def number(value: float) -> str:
    """Three significant digits with a sign, plain zero for 0."""
    return "0" if value == 0 else f"{value:+#.3g}".removesuffix(".")


def three_digits(value: float) -> str:
    """Three digits after the point; what rounds to zero has no sign."""
    return f"{value:.3f}" if abs(value) >= 5e-4 else "0.000"


def color_bar(colors: Palette, width: int, height: int) -> Image.Image:
    """The palette from its lowest value to its highest, on a gray that stands for the photo: RGB."""
    low, high = colors.range_of(1.0)
    values = np.tile(np.linspace(low, high, width, dtype=np.float32), (height, 1))
    ground = Image.new("RGBA", (width, height), (*_GROUND, 255))
    return Image.alpha_composite(ground, Image.fromarray(colors.colorize(values, 1.0))).convert("RGB")


def _scaled_bar(colors: Palette, limit: float, width: int, size: float) -> Image.Image:
    """The bar with a tick and a number at its ends and in the middle, as wide as the numbers need."""
    low, high = colors.range_of(limit)
    labels = [text_line(number(x), size, color=INK) for x in (low, (low + high) / 2, high)]
    overhang = max(label.width for label in labels) // 2
    bar = color_bar(colors, width, round(size * 0.95))
    tick = round(size * 0.3)
    image = blank(width + 2 * overhang, bar.height + tick + labels[0].height)
    image.paste(bar, (overhang, 0))
    draw = ImageDraw.Draw(image)
    for part, label in zip((0.0, 0.5, 1.0), labels, strict=True):
        x = overhang + round(part * (width - 1))
        draw.line([(x, bar.height), (x, bar.height + tick)], INK)
        image.paste(label, (x - label.width // 2, bar.height + tick))
    return image
