"""Decoded images, and the geometry that maps a feature grid onto them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False, repr=False)
class Picture:
    """A decoded image. Two pictures are equal if their names, formats, sizes and pixels are."""

    image: Image.Image  # RGB; smaller than original_size if it was decoded at reduced scale
    original_size: tuple[int, int]  # (H, W) pixels of the file, EXIF orientation applied
    name: str  # file name or the caller's name; for messages and captions
    format: str = ""  # Pillow's name of the file format, "JPEG"; empty for an image in memory

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Picture):
            return NotImplemented
        return self is other or (
            (self.original_size, self.name, self.format) == (other.original_size, other.name, other.format)
            and (self.image is other.image or self.image == other.image)
        )

    def __hash__(self) -> int:
        return hash((self.original_size, self.name, self.image.size))

    def __repr__(self) -> str:
        return f"Picture({self.name!r}, {self.original_size[0]}x{self.original_size[1]} pixels)"


@dataclass(frozen=True)
class Geometry:
    """The rectangle of the original image that a network's input shows.

    One rectangle covers every preprocessing: squash (it is the whole image), resize and center crop
    (a part of it) and letterbox (it extends beyond the image).
    """

    original_size: tuple[int, int]  # (H, W) pixels, EXIF orientation applied
    input_size: tuple[int, int]  # (H, W) pixels of the network's input
    crop: tuple[float, float, float, float]  # top, left, height, width in original pixels

    def to_dict(self) -> dict[str, list[float]]:
        """Return the geometry as lists of numbers."""
        return {
            "original_size": list(self.original_size),
            "input_size": list(self.input_size),
            "crop": list(self.crop),
        }

    def cell_box(self, row: int, column: int, grid: tuple[int, int]) -> tuple[float, float, float, float]:
        """Return left, top, right, bottom of a cell of a grid (h, w), in pixels of the original image."""
        top, left, height, width = self.crop
        cell_height, cell_width = height / grid[0], width / grid[1]
        return (
            left + column * cell_width,
            top + row * cell_height,
            left + (column + 1) * cell_width,
            top + (row + 1) * cell_height,
        )

    def cell_at(self, x: float, y: float, grid: tuple[int, int]) -> tuple[int, int] | None:
        """Return (row, column) of the cell that covers the original pixel (x, y); None outside the crop."""
        top, left, height, width = self.crop
        row, column = int((y - top) // (height / grid[0])), int((x - left) // (width / grid[1]))
        return (row, column) if 0 <= row < grid[0] and 0 <= column < grid[1] else None


@dataclass(frozen=True, eq=False, repr=False)
class Reading:
    """A decoded image, with the pixels that a model's preprocessing makes of it."""

    picture: Picture  # to draw on
    pixels: NDArray[np.uint8]  # (H, W, 3) RGB, resized and cropped by the model's preprocessing
    geometry: Geometry  # of the pixels on the picture

    def __repr__(self) -> str:
        return f"Reading({self.picture!r}, input {self.geometry.input_size[0]}x{self.geometry.input_size[1]})"
