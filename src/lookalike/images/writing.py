"""A picture of words, which stands for a query that is no image."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

_INK = (28, 30, 34)


def written(labels: Sequence[str], cell: tuple[int, int]) -> Image.Image:
    """Draw labels in a row of cells of (H, W) pixels, each reduced until it fits: RGB, black on white."""
    height, width = cell
    image = Image.new("RGB", (width * len(labels), height), "white")
    draw = ImageDraw.Draw(image)
    for i, label in enumerate(labels):
        size = height * 0.45
        font = ImageFont.load_default(size)
        while size > 7 and draw.textlength(label, font=font) > width * 0.94:
            size *= 0.9
            font = ImageFont.load_default(size)
        draw.text((width * (i + 0.5), height / 2), label, fill=_INK, font=font, anchor="mm")
    return image
