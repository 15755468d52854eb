"""Pictures, and where on them a feature grid lies."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

FloatArray = NDArray[np.float32]


@dataclass(frozen=True)
class Picture:
    """One decoded image."""

    image: Image.Image  # RGB; smaller than original_size where it was decoded at reduced scale
    original_size: tuple[int, int]  # (H, W) pixels of the file, EXIF orientation applied
    name: str  # file name or what the caller called it; for messages and captions


@dataclass(frozen=True)
class Geometry:
    """Where the picture that a network saw lies on the original image.

    One rectangle says it for every preprocessing: squash (the rectangle is the whole image),
    resize and center crop (a part of it) and letterbox (it reaches beyond the image).
    """

    original_size: tuple[int, int]  # (H, W) pixels, EXIF orientation applied
    input_size: tuple[int, int]  # (H, W) pixels that the network saw
    crop: tuple[float, float, float, float]  # top, left, height, width in original pixels

    def cell_box(self, row: int, column: int, grid: tuple[int, int]) -> tuple[float, float, float, float]:
        """Left, top, right, bottom, in original pixels, of one cell of a feature grid (h, w)."""
        top, left, height, width = self.crop
        cell_height, cell_width = height / grid[0], width / grid[1]
        return (
            left + column * cell_width,
            top + row * cell_height,
            left + (column + 1) * cell_width,
            top + (row + 1) * cell_height,
        )

    def cell_at(self, x: float, y: float, grid: tuple[int, int]) -> tuple[int, int] | None:
        """(row, column) of the cell that covers the original pixel (x, y); None outside the crop."""
        top, left, height, width = self.crop
        row, column = int((y - top) // (height / grid[0])), int((x - left) // (width / grid[1]))
        return (row, column) if 0 <= row < grid[0] and 0 <= column < grid[1] else None
