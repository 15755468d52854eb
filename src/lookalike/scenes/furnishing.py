"""Furnishings of a room as the camera sees them, and the colors of their materials."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from lookalike.scenes.camera import Patch
from lookalike.scenes.palettes import Rgb, rgb
from lookalike.scenes.solids import Point


@dataclass(frozen=True)
class Furnishing:
    """A piece of furniture or decoration: its patches and its lamps."""

    patches: list[Patch]
    width: float  # meters along the wall
    lamps: list[Point] = field(default_factory=list)  # positions of lights, meters


def wood(rng: np.random.Generator) -> Rgb:
    """Random wood color, from ash to wenge."""
    return rgb(rng.uniform(0.045, 0.1), rng.uniform(0.3, 0.65), rng.choice([0.28, 0.45, 0.6, 0.78]))


def fabric(rng: np.random.Generator) -> Rgb:
    """Random fabric color, mostly muted."""
    strong = rng.random() < 0.35
    return rgb(
        rng.random(), rng.uniform(0.4, 0.75) if strong else rng.uniform(0.04, 0.3), rng.uniform(0.3, 0.9)
    )


def linen(rng: np.random.Generator) -> Rgb:
    """Random color close to white."""
    return rgb(rng.uniform(0, 0.2), rng.uniform(0.0, 0.08), rng.uniform(0.86, 0.97))
