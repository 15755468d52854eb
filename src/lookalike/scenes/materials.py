"""Random colors of materials: wood, fabric, linen."""

from __future__ import annotations

import numpy as np

from lookalike.scenes.palettes import Rgb, rgb


def wood(rng: np.random.Generator) -> Rgb:
    """A wood tone, from ash to wenge."""
    return rgb(rng.uniform(0.045, 0.1), rng.uniform(0.3, 0.65), rng.choice([0.28, 0.45, 0.6, 0.78]))


def fabric(rng: np.random.Generator) -> Rgb:
    """A cloth color: mostly muted, sometimes strong."""
    strong = rng.random() < 0.35
    return rgb(
        rng.random(), rng.uniform(0.4, 0.75) if strong else rng.uniform(0.04, 0.3), rng.uniform(0.3, 0.9)
    )


def linen(rng: np.random.Generator) -> Rgb:
    """Near white."""
    return rgb(rng.uniform(0, 0.2), rng.uniform(0.0, 0.08), rng.uniform(0.86, 0.97))
