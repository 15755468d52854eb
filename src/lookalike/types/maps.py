"""A map on a feature grid, with the image that it belongs to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.types.geometry import FloatArray, Geometry, Picture


@dataclass(frozen=True, eq=False, repr=False)
class ImageMap:
    """Values on the feature grid of an image, with the image and the grid's geometry.

    Two maps are equal if their values, geometries and pictures are.
    """

    picture: Picture
    geometry: Geometry
    values: FloatArray  # (h, w) float32, signed
    # What no cell accounts for, by kind where that is known: ("CLS", 0.12), ("registers", 0.03), ...
    residual_parts: tuple[tuple[str, float], ...] = ()

    @property
    def residual_words(self) -> str:
        """The parts of the residual for people, largest first, without those that round to 0.000."""
        parts = sorted(self.residual_parts, key=lambda part: -abs(part[1]))
        return " · ".join(f"{name} {value:z.3f}" for name, value in parts if round(value, 3))

    @property
    def grid(self) -> tuple[int, int]:
        """Size of the feature grid, (h, w)."""
        height, width = self.values.shape
        return height, width

    @property
    def total(self) -> float:
        """Sum over the cells, accumulated in float64."""
        return float(self.values.sum(dtype=np.float64))

    @property
    def name(self) -> str:
        """Name of the picture."""
        return self.picture.name

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, ImageMap):
            return NotImplemented
        return (
            np.array_equal(self.values, other.values, equal_nan=True)
            and self.geometry == other.geometry
            and self.residual_parts == other.residual_parts
            and self.picture == other.picture
        )

    def __hash__(self) -> int:
        return hash((self.picture, self.geometry, self.grid))

    def __repr__(self) -> str:
        return f"ImageMap({self.name!r}, {self.grid[0]}x{self.grid[1]} cells, sum {self.total:z.4f})"
