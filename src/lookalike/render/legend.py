"""The color bar of a map, with its scale and unit."""

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
    """Return the label of a map's unit, after ``per_percent``."""
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
    """Draw a color bar with a title, numbers at its ends and middle, and a label for each end: RGB.

    A palette without negative colors has no label at the lower end. If the model's input does not
    cover all of an image, a line explains the gray veil.
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
    """Format three significant digits with a sign; zero is "0"."""
    return "0" if value == 0 else f"{value:+#.3g}".removesuffix(".")


def three_digits(value: float) -> str:
    """Format three decimals; values that round to zero have no sign."""
    return f"{value:.3f}" if abs(value) >= 5e-4 else "0.000"


def color_bar(colors: Palette, width: int, height: int) -> Image.Image:
    """Draw the palette from its lowest value to its highest, on a gray in place of the photo: RGB."""
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
