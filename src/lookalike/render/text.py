"""Text as images, in the font that comes with Pillow."""

from __future__ import annotations

import math
import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont
Color = tuple[int, int, int]

INK: Color = (28, 30, 34)
MUTED: Color = (98, 102, 110)
PAPER: Color = (255, 255, 255)

_FINER = 4  # text is drawn larger and then reduced: the font's spacing is too coarse at small sizes

_LIKE = str.maketrans(
    {"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d"}
    | {"\u2212": "-", "\u2013": "-", "\u2014": "-"}  # minus and dashes
    | {"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"'}  # quotation marks
)
_DRAWABLE = frozenset(map(chr, range(32, 127))) | frozenset("·…±°")


def text_line(
    text: str, size: float, *, color: Color = INK, max_width: int | None = None, bold: bool = False
) -> Image.Image:
    """Draw one line of text on white, shortened in the middle if wider than ``max_width`` pixels: RGB.

    Characters that the font lacks lose their accent or become "?"; no text raises an error.
    """
    text = printable(text)
    if max_width is not None:
        text = shortened(text, size, max_width)
    stroke = _FINER * size / 70 if bold else 0.0
    width = max(1, math.ceil(text_width(text, size) + 2 * stroke / _FINER))
    large = Image.new("RGB", (_FINER * width, _FINER * line_height(size)), PAPER)
    place = (stroke, large.height * 0.74)
    ImageDraw.Draw(large).text(place, text, color, _font(_FINER * size), anchor="ls", stroke_width=stroke)
    return large.reduce(_FINER)


def disc(text: str, size: float, *, face: Color, ink: Color) -> Image.Image:
    """Draw a few characters on a colored disc with a smooth edge: RGBA."""
    side = round(size * 1.7)
    large = Image.new("RGBA", (_FINER * side, _FINER * side), (*face, 0))
    draw = ImageDraw.Draw(large)
    draw.ellipse([0, 0, large.width - 1, large.height - 1], (*face, 255))
    middle = (large.width / 2, large.height / 2 + _FINER * size * 0.36)
    draw.text(middle, printable(text), ink, _font(_FINER * size), anchor="ms")
    return large.reduce(_FINER)


def line_height(size: float) -> int:
    """Return the height of a line of text in pixels."""
    return max(1, round(size * 1.35))


def text_width(text: str, size: float) -> float:
    """Return the width of the text in pixels, in the regular face."""
    return float(_font(_FINER * size).getlength(printable(text))) / _FINER


def shortened(text: str, size: float, max_width: float) -> str:
    """Return the text, its middle replaced by an ellipsis if it is wider than ``max_width`` pixels."""
    if text_width(text, size) <= max_width:
        return text
    for kept in range(min(len(text) - 1, 400), 0, -1):
        candidate = f"{text[: (kept + 1) // 2].rstrip()}…{text[len(text) - kept // 2 :].lstrip()}"
        if text_width(candidate, size) <= max_width:
            return candidate
    return "…"


def printable(text: str) -> str:
    """Return the text on one line, in characters that the font has."""
    plain = unicodedata.normalize("NFKD", text.translate(_LIKE).replace("…", "\0"))
    kept = (letter for letter in plain if not unicodedata.combining(letter))
    return "".join("…" if x == "\0" else x if x in _DRAWABLE else " " if x.isspace() else "?" for x in kept)


@cache
def _font(size: float) -> Font:
    return ImageFont.load_default(size)
