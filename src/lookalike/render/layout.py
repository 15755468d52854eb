"""Pictures beside and below each other on a white page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from lookalike.render.placement import fitted
from lookalike.render.text import MUTED, PAPER, Color, line_height, text_line

MIN_WIDTH = 480


@dataclass(frozen=True)
class Sheet:
    """Measures of a page, all in proportion to its width in pixels."""

    width: int

    def __post_init__(self) -> None:
        if self.width < MIN_WIDTH:
            raise ValueError(f"a picture needs a width of at least {MIN_WIDTH} pixels, got {self.width}")

    @property
    def margin(self) -> int:
        """White border around the page."""
        return round(self.width / 34)

    @property
    def gap(self) -> int:
        """Space between neighboring pictures."""
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
    """Sizes (H, W) at which two images fill the width beside each other, at one height if they can.

    Neither gets less than a third of the width, so a panorama does not shrink its neighbor to
    nothing, and none is much higher than half the width.
    """
    wide = [size[1] / size[0] for size in (first, second)]
    part = min(max(wide[0] / sum(wide), 1 / 3), 2 / 3)
    left, highest = round((width - gap) * part), round(width * 0.62)
    return fitted(first, (highest, left)), fitted(second, (highest, width - gap - left))


def stack(images: Sequence[Image.Image], gap: int = 0, *, align: float = 0.0) -> Image.Image:
    """Images below each other; align 0 puts narrower ones left, 0.5 in the middle, 1 right."""
    width = max(image.width for image in images)
    page = blank(width, sum(image.height for image in images) + gap * (len(images) - 1))
    top = 0
    for image in images:
        page.paste(image, (round((width - image.width) * align), top))
        top += image.height + gap
    return page


def row(images: Sequence[Image.Image], gap: int = 0, *, align: float = 0.0) -> Image.Image:
    """Images beside each other; align 0 puts lower ones at the top, 0.5 in the middle, 1 below."""
    height = max(image.height for image in images)
    page = blank(sum(image.width for image in images) + gap * (len(images) - 1), height)
    left = 0
    for image in images:
        page.paste(image, (left, round((height - image.height) * align)))
        left += image.width + gap
    return page


def centered(image: Image.Image, width: int, height: int | None = None) -> Image.Image:
    """The image in the middle of a white area; an area smaller than the image grows to it."""
    page = blank(max(width, image.width), max(height or 0, image.height))
    page.paste(image, ((page.width - image.width) // 2, (page.height - image.height) // 2))
    return page


def composed(headline: Image.Image, parts: Sequence[Image.Image], sheet: Sheet) -> Image.Image:
    """Headline, and the parts below it on one axis, in the middle between the sheet's margins."""
    content = stack([headline, stack(parts, sheet.gap, align=0.5)], sheet.gap)
    canvas = blank(sheet.width, content.height + 2 * sheet.margin)
    canvas.paste(content, ((sheet.width - content.width) // 2, sheet.margin))
    return canvas


def side_title(role: str, name: str, sheet: Sheet, width: int) -> Image.Image:
    """The role in ink and the file name in gray, shortened to fit the width: RGB."""
    word, pad = text_line(role, sheet.small), round(sheet.small * 0.6)
    room = max(1, width - word.width - pad)
    return row([word, text_line(name, sheet.small, color=MUTED, max_width=room)], pad)


def framed(image: Image.Image, color: Color, thickness: int) -> Image.Image:
    """The image inside a colored border."""
    canvas = Image.new("RGB", (image.width + 2 * thickness, image.height + 2 * thickness), color)
    canvas.paste(image, (thickness, thickness))
    return canvas


def blank(width: int, height: int) -> Image.Image:
    """A white area."""
    return Image.new("RGB", (width, height), PAPER)
