"""A pinhole camera in a room, and the flat pieces of color it sees.

World: meters; x to the right along the picture wall, y up from the floor, z into the wall (the wall
is z = 0, the camera stands at negative z). Picture: pixels, x to the right, y downwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from lookalike.scenes.palettes import Rgb

Array = NDArray[np.float64]
PixelBox = tuple[int, int, int, int]  # left, top, right, bottom in pixels
NEAR = 0.2  # meters; what is closer to the camera is cut off


@dataclass(frozen=True)
class Patch:
    """A polygon of one color in the picture; later patches cover earlier ones."""

    points: Array  # (n, 2) pixels of the supersampled picture
    color: Rgb

    def outline(self, scale: float = 1.0) -> list[tuple[float, float]]:
        """Corners as PIL's drawing wants them: pixel centers at whole numbers."""
        return [(x, y) for x, y in (self.points * scale - 0.5).tolist()]


@dataclass(frozen=True)
class Camera:
    """Where the camera stands and what it makes of a point."""

    matrix: Array  # (3, 4): world meters, homogeneous -> pixels times depth, depth in meters
    position: Array  # (3,) meters
    size: tuple[int, int]  # (H, W) of the supersampled picture

    @classmethod
    def looking(
        cls,
        *,
        position: ArrayLike,
        yaw: float,
        pitch: float,
        roll: float,
        focal: float,
        size: tuple[int, int],
    ) -> Camera:
        """A camera turned by yaw (to the right), pitch (upwards) and roll, radians; focal in pixels."""
        eye = np.asarray(position, dtype=np.float64)
        cy, sy, cp, sp, cr, sr = *_turn(yaw), *_turn(pitch), *_turn(roll)
        around_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
        around_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
        around_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
        rotation = around_z @ around_x @ around_y
        lens = np.array([[focal, 0, size[1] / 2], [0, -focal, size[0] / 2], [0, 0, 1.0]])
        return cls(lens @ np.hstack([rotation, -(rotation @ eye)[:, None]]), eye, size)

    def project(self, points: ArrayLike) -> Array:
        """World points (n, 3), all before the camera, as pixels: (n, 2)."""
        seen = self._seen(points)
        projected: Array = seen[:, :2] / seen[:, 2:]
        return projected

    def depth(self, point: ArrayLike) -> float:
        """Meters from the camera, along its axis, of one world point (3,)."""
        return float(self._seen(np.asarray(point)[None])[0, 2])

    def polygon(self, corners: ArrayLike) -> Array | None:
        """A world polygon (n, 3) as pixels (m, 2), cut at the near plane; None if nothing is left."""
        seen = self._seen(corners)
        if (seen[:, 2] < NEAR).any():
            seen = _clip(seen)
            if len(seen) < 3:
                return None
        clipped: Array = seen[:, :2] / seen[:, 2:]
        return clipped

    def patches(self, faces: Iterable[tuple[ArrayLike, Rgb]]) -> list[Patch]:
        """World polygons with their colors as patches; what lies behind the camera is left out."""
        projected = ((self.polygon(corners), color) for corners, color in faces)
        return [Patch(points, color) for points, color in projected if points is not None]

    def wall_point(self, x: float, y: float) -> tuple[float, float]:
        """Where the ray through pixel (x, y) meets the wall z = 0: world x and y in meters."""
        wall = np.linalg.inv(self.matrix[:, [0, 1, 3]]) @ np.array([x, y, 1.0])
        return float(wall[0] / wall[2]), float(wall[1] / wall[2])

    def warp(
        self, texture: Image.Image, origin: ArrayLike, across: ArrayLike, down: ArrayLike, box: PixelBox
    ) -> Image.Image:
        """A flat texture in perspective, for the part ``box`` of the picture.

        ``origin`` is the world place of the texture's top left corner; ``across`` and ``down`` are the
        world vectors (meters) of one texture pixel to the right and downwards.
        """
        plane = np.stack([np.append(across, 0.0), np.append(down, 0.0), np.append(origin, 1.0)], axis=1)
        shift = np.array([[1, 0, -box[0]], [0, 1, -box[1]], [0, 0, 1.0]])
        inverse = np.linalg.inv(shift @ self.matrix @ plane)
        coefficients = (inverse / inverse[2, 2]).ravel()[:8].tolist()
        size = (box[2] - box[0], box[3] - box[1])
        return texture.transform(size, Image.Transform.PERSPECTIVE, coefficients, Image.Resampling.BILINEAR)

    def _seen(self, points: ArrayLike) -> Array:
        world = np.asarray(points, dtype=np.float64)
        seen: Array = world @ self.matrix[:, :3].T + self.matrix[:, 3]
        return seen


def bounding_box(points: Array, size: tuple[int, int]) -> PixelBox:
    """Smallest box of whole pixels around the points, inside a picture of size (H, W)."""
    left, top = np.floor(points.min(axis=0)).astype(int) - 1
    right, bottom = np.ceil(points.max(axis=0)).astype(int) + 1
    return max(0, int(left)), max(0, int(top)), min(size[1], int(right)), min(size[0], int(bottom))


def area(points: Array) -> float:
    """Area of a simple polygon (n, 2), in square pixels."""
    x, y = points[:, 0], points[:, 1]
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def _turn(angle: float) -> tuple[float, float]:
    return float(np.cos(angle)), float(np.sin(angle))


def _clip(seen: Array) -> Array:
    """The part of a polygon (n, 3), third value depth, that lies beyond the near plane."""
    kept: list[Array] = []
    following: Sequence[Array] = list(np.roll(seen, -1, axis=0))
    for here, there in zip(seen, following, strict=True):
        if here[2] >= NEAR:
            kept.append(here)
        if (here[2] >= NEAR) != (there[2] >= NEAR):
            kept.append(here + (there - here) * (NEAR - here[2]) / (there[2] - here[2]))
    return np.array(kept).reshape(-1, 3)
