"""Things that stand on tables: lamps, vases, books, bowls."""

from __future__ import annotations

import numpy as np

from lookalike.scenes.camera import Camera, Patch
from lookalike.scenes.materials import fabric, linen
from lookalike.scenes.palettes import Rgb, mix
from lookalike.scenes.solids import Furnishing, Point, box, turned


def table_lamp(camera: Camera, foot: Point, shade_color: Rgb, stand: Rgb, style: int) -> Furnishing:
    """A lamp for a table: a slim or a round stand and a light shade, switched on."""
    x, y, z = foot
    if style == 0:
        profile = [(0.0, 0.07), (0.015, 0.07), (0.02, 0.015), (0.24, 0.015)]
    else:
        profile = [(0.0, 0.05), (0.05, 0.09), (0.12, 0.1), (0.18, 0.06), (0.24, 0.02)]
    patches = turned(camera, foot, profile, stand)
    patches += turned(
        camera, (x, y + 0.22, z), [(0.0, 0.15), (0.2, 0.1)], mix(shade_color, (255, 240, 200), 0.5)
    )
    return Furnishing(patches, 0.3, [(x, y + 0.3, z)])


def ornament(camera: Camera, rng: np.random.Generator, foot: Point) -> Furnishing:
    """A vase, a pile of books, a bowl, a lamp or nothing, standing on a table."""
    x, y, z = foot
    kind = int(rng.integers(5))
    if kind == 0:
        r, h = rng.uniform(0.05, 0.1), rng.uniform(0.18, 0.38)
        profile = [(0.0, r * 0.6), (h * 0.35, r), (h * 0.75, r * 0.5), (h * 0.9, r * 0.35), (h, r * 0.5)]
        return Furnishing(turned(camera, foot, profile, fabric(rng)), 0.2)
    if kind == 1:
        patches: list[Patch] = []
        for book in range(int(rng.integers(2, 5))):
            half, shift = rng.uniform(0.1, 0.15), rng.normal(0, 0.01)
            span = (x - half + shift, x + half + shift)
            patches += box(
                camera,
                span,
                (y + book * 0.035, y + book * 0.035 + 0.033),
                (z - 0.1, z + 0.08),
                fabric(rng),
                strips=1,
            )
        return Furnishing(patches, 0.3)
    if kind == 2:
        profile = [(0.0, 0.05), (0.02, 0.06), (0.09, 0.15)]
        return Furnishing(turned(camera, foot, profile, fabric(rng)), 0.3)
    if kind == 3:
        return table_lamp(camera, foot, linen(rng), fabric(rng), int(rng.integers(2)))
    return Furnishing([], 0.0)
