"""Where a painting hangs, and its frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.scenes.camera import Array, Camera, Patch
from lookalike.scenes.furniture import linen, wood
from lookalike.scenes.palettes import Rgb, rgb, shade

_PADDING = 4  # texture pixels repeated beyond the canvas, so that its edge can be interpolated


@dataclass(frozen=True)
class Hanging:
    """A painting's place on the wall z = 0; meters, without its frame."""

    painting_id: int
    x: float  # of its middle
    y: float  # of its middle
    width: float
    height: float
    tilt: float  # radians, counterclockwise
    mount: float = 0.0  # width of the paper around the painting
    molding: float = 0.012  # width of the frame around that

    @property
    def margin(self) -> float:
        """From the edge of the painting to the outer edge of its frame."""
        return self.mount + self.molding

    def rectangle(self, margin: float = 0.0) -> Array:
        """World corners, widened by margin: bottom left, bottom right, top right, top left: (4, 3)."""
        half_x, half_y = self.width / 2 + margin, self.height / 2 + margin
        flat = np.array([(-half_x, -half_y), (half_x, -half_y), (half_x, half_y), (-half_x, half_y)])
        cos, sin = np.cos(self.tilt), np.sin(self.tilt)
        turned = flat @ np.array([[cos, sin], [-sin, cos]])
        return np.column_stack([turned + np.array([self.x, self.y]), np.full(4, -0.02)])

    def overlaps(self, other: Hanging, gap: float) -> bool:
        """Whether two hangings, with their frames, come closer than gap."""
        margins = self.margin + other.margin
        apart_x = abs(self.x - other.x) - (self.width + other.width) / 2 - margins
        apart_y = abs(self.y - other.y) - (self.height + other.height) / 2 - margins
        return max(apart_x, apart_y) < gap


def with_frame(hanging: Hanging, rng: np.random.Generator) -> Hanging:
    """The hanging with a frame: with or without a mount, or hardly any (a bare canvas)."""
    unit = min(hanging.width, hanging.height)
    bare, has_mount = rng.random() < 0.2, rng.random() < 0.5
    mount, molding = (
        unit * rng.uniform(0.05, 0.16),
        float(np.clip(unit * rng.uniform(0.035, 0.09), 0.015, 0.07)),
    )
    if bare:
        return replace(hanging, mount=0.0, molding=0.012)
    return replace(hanging, mount=mount if has_mount else 0.0, molding=molding)


def frame(camera: Camera, rng: np.random.Generator, hanging: Hanging) -> list[Patch]:
    """Frame and mount around a painting, without the painting."""
    paper, color = linen(rng), _frame_color(rng)
    if hanging.molding < 0.015:
        return camera.patches([(hanging.rectangle(hanging.margin), shade(paper, 0.6))])
    middle = hanging.mount + 0.45 * hanging.molding
    patches = _molding(camera, hanging, hanging.margin, middle, color, (1.1, 0.75, 0.85, 0.95))
    patches += _molding(camera, hanging, middle, hanging.mount, shade(color, 0.9), (0.7, 1.1, 1.0, 0.9))
    patches += camera.patches([(hanging.rectangle(hanging.mount), paper)])
    if hanging.mount:
        edge = 0.008 * min(hanging.width, hanging.height)
        patches += camera.patches([(hanging.rectangle(edge), shade(paper, 0.7))])
    return patches


def _frame_color(rng: np.random.Generator) -> Rgb:
    kind = int(rng.integers(1, 5))
    if kind == 1:
        return (38, 35, 34)
    if kind == 2:
        return rgb(0.11, rng.uniform(0.45, 0.65), rng.uniform(0.6, 0.8))  # gold
    return wood(rng) if kind == 3 else linen(rng)


def _molding(
    camera: Camera, hanging: Hanging, outer: float, inner: float, color: Rgb, tones: tuple[float, ...]
) -> list[Patch]:
    """Four mitred sides between two margins; tones of the top, bottom, left and right side."""
    out, inn = hanging.rectangle(outer), hanging.rectangle(inner)
    sides = ((2, 3), (0, 1), (3, 0), (1, 2))
    faces = [
        (np.stack([out[a], out[b], inn[b], inn[a]]), shade(color, tone))
        for (a, b), tone in zip(sides, tones, strict=True)
    ]
    return camera.patches(faces)


def canvas_texture(painting: Image.Image, glare: NDArray[np.float32]) -> Image.Image:
    """The part of a square painting that hangs, with the glare (n, n) in [0, 1] of the glass over it."""
    pixels = np.asarray(painting, dtype=np.float32)
    pixels = pixels + (255.0 - pixels) * glare[..., None]
    padding = ((_PADDING, _PADDING), (_PADDING, _PADDING), (0, 0))
    return Image.fromarray(np.pad(pixels.astype(np.uint8), padding, mode="edge"))


def hang(
    camera: Camera, texture: Image.Image, hanging: Hanging, box: tuple[int, int, int, int]
) -> Image.Image:
    """The texture of ``canvas_texture`` in perspective, for the part ``box`` of the picture."""
    n = texture.width - 2 * _PADDING
    meter = max(hanging.width, hanging.height) / n  # meters a texture pixel
    rectangle = hanging.rectangle()
    across = (rectangle[1] - rectangle[0]) / hanging.width * meter
    down = (rectangle[0] - rectangle[3]) / hanging.height * meter
    cut_x = (n - hanging.width / meter) / 2 + _PADDING
    cut_y = (n - hanging.height / meter) / 2 + _PADDING
    return camera.warp(texture, rectangle[3] - cut_x * across - cut_y * down, across, down, box)


def glare(rng: np.random.Generator, n: int) -> NDArray[np.float32]:
    """Reflection on the glass: none for most, else a soft slanted band: (n, n) in [0, 0.4]."""
    shown, strength, angle, place, width = (
        rng.random(),
        rng.uniform(0.12, 0.4),
        *rng.uniform((0.5, 0.2, 0.05), (1.1, 0.8, 0.2)),
    )
    if shown > 0.25:
        return np.zeros((n, n), dtype=np.float32)
    axis = (np.arange(n, dtype=np.float32) + 0.5) / n
    along = axis[None, :] * np.cos(angle) + axis[:, None] * np.sin(angle)
    band: NDArray[np.float32] = strength * np.exp(-(((along - place * 1.3) / width) ** 2))
    return band.astype(np.float32)
