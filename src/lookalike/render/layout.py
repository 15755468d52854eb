"""Layout of images in rows, columns and pages on white."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from lookalike.render.placement import fitted
from lookalike.render.text import MUTED, PAPER, Color, line_height, text_line

MIN_WIDTH = 480


@dataclass(frozen=True)
class Sheet:
    """Measures of a page in pixels, proportional to its width. Raises ValueError below 480 pixels."""

    width: int

    def __post_init__(self) -> None:
        if self.width < MIN_WIDTH:
            raise ValueError(f"width must be at least {MIN_WIDTH} pixels, got {self.width}")

    @property
    def margin(self) -> int:
        """White border around the page."""
        return round(self.width / 34)

    @property
    def gap(self) -> int:
        """Space between neighboring images."""
        return round(self.width / 60)

    @property
    def inner(self) -> int:
        """Width between the margins."""
        return self.width - 2 * self.margin

    @property
    def small(self) -> float:
        """Font size of captions and numbers."""
        return max(11.0, self.width / 68)

    @property
    def large(self) -> float:
        """Font size of the headline."""
        return max(14.0, self.width / 44)

    @property
    def line(self) -> int:
        """Height of a line of small text."""
        return line_height(self.small)

    def columns(self, n: int) -> int:
        """Width of each of n equal columns with gaps between them."""
        return (self.inner - (n - 1) * self.gap) // n


def justified(
    first: tuple[int, int], second: tuple[int, int], width: int, gap: int
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return sizes (H, W) at which two images side by side fill a width, with equal heights if possible.

    Neither gets less than a third of the width, so a panorama does not shrink its neighbor to
    nothing, and none is much higher than half the width.
    """
    wide = [size[1] / size[0] for size in (first, second)]
    part = min(max(wide[0] / sum(wide), 1 / 3), 2 / 3)
    left, highest = round((width - gap) * part), round(width * 0.62)
    return fitted(first, (highest, left)), fitted(second, (highest, width - gap - left))


def stack(images: Sequence[Image.Image], gap: int = 0, *, align: float = 0.0) -> Image.Image:
    """Stack images vertically; narrower ones are aligned left (0), centered (0.5) or right (1)."""
    width = max(image.width for image in images)
    page = blank(width, sum(image.height for image in images) + gap * (len(images) - 1))
    top = 0
    for image in images:
        page.paste(image, (round((width - image.width) * align), top))
        top += image.height + gap
    return page


def row(images: Sequence[Image.Image], gap: int = 0, *, align: float = 0.0) -> Image.Image:
    """Join images horizontally; lower ones are aligned top (0), centered (0.5) or bottom (1)."""
    height = max(image.height for image in images)
    page = blank(sum(image.width for image in images) + gap * (len(images) - 1), height)
    left = 0
    for image in images:
        page.paste(image, (left, round((height - image.height) * align)))
        left += image.width + gap
    return page


def centered(image: Image.Image, width: int, height: int | None = None) -> Image.Image:
    """Center an image on a white area, which is enlarged if the image is larger."""
    page = blank(max(width, image.width), max(height or 0, image.height))
    page.paste(image, ((page.width - image.width) // 2, (page.height - image.height) // 2))
    return page


def composed(headline: Image.Image, parts: Sequence[Image.Image], sheet: Sheet) -> Image.Image:
    """Compose a page of a headline and centered parts below it, within the sheet's margins."""
    content = stack([headline, stack(parts, sheet.gap, align=0.5)], sheet.gap)
    canvas = blank(sheet.width, content.height + 2 * sheet.margin)
    canvas.paste(content, ((sheet.width - content.width) // 2, sheet.margin))
    return canvas


def side_title(role: str, name: str, sheet: Sheet, width: int) -> Image.Image:
    """Draw the role in black and the file name in gray, shortened to fit the width: RGB."""
    word, pad = text_line(role, sheet.small), round(sheet.small * 0.6)
    room = max(1, width - word.width - pad)
    return row([word, text_line(name, sheet.small, color=MUTED, max_width=room)], pad)


def framed(image: Image.Image, color: Color, thickness: int) -> Image.Image:
    """Return the image inside a colored border, ``thickness`` in pixels."""
    canvas = Image.new("RGB", (image.width + 2 * thickness, image.height + 2 * thickness), color)
    canvas.paste(image, (thickness, thickness))
    return canvas


def blank(width: int, height: int) -> Image.Image:
    """Return a white RGB image."""
    return Image.new("RGB", (width, height), PAPER)
