"""The smaller things of a room: plants, standing and hanging lamps, curtains, rugs, wall decoration."""

from __future__ import annotations

import numpy as np

from lookalike.scenes.camera import Camera, Patch
from lookalike.scenes.furniture import Item, fabric, linen, wood
from lookalike.scenes.palettes import Rgb, mix, rgb, shade
from lookalike.scenes.solids import Point, box, disc_patches, gradient_quad, leaf, turned


def plant(camera: Camera, rng: np.random.Generator, x: float, z: float) -> Item:
    """A pot plant between knee and head height."""
    tall = rng.uniform(0.6, 1.35)
    pot, radius = rng.uniform(0.25, 0.42), rng.uniform(0.13, 0.2)
    color = fabric(rng) if rng.random() < 0.5 else wood(rng)
    green = rgb(rng.uniform(0.22, 0.4), rng.uniform(0.35, 0.75), rng.uniform(0.3, 0.6))
    foot = (x, 0.0, z)
    patches = turned(camera, foot, [(0.0, radius * 0.75), (pot, radius)], color)
    width = rng.uniform(0.025, 0.07)
    for _ in range(int(rng.integers(14, 26))):
        angle, spread = rng.uniform(0, 2 * np.pi), rng.uniform(0.1, 0.5)
        rise = tall * rng.uniform(0.45, 1.0) * (1.1 - 0.7 * spread)
        reach = (spread * np.cos(angle), rise, 0.6 * spread * np.sin(angle))
        patches += leaf(camera, (x, pot - 0.02, z), reach, width, shade(green, rng.uniform(0.75, 1.2)))
    return Item(patches, 0.6)


def floor_lamp(camera: Camera, rng: np.random.Generator, x: float, z: float) -> Item:
    """A standing lamp, switched on."""
    height, stand = rng.uniform(1.4, 1.75), wood(rng) if rng.random() < 0.4 else (40, 38, 38)
    patches = turned(camera, (x, 0.0, z), [(0.0, 0.14), (0.025, 0.14)], stand, strips=5)
    patches += turned(camera, (x, 0.02, z), [(0.0, 0.013), (height - 0.2, 0.013)], stand, strips=3)
    top = rng.uniform(0.1, 0.22)
    cloth = mix(linen(rng), (255, 236, 190), 0.5)
    patches += turned(camera, (x, height - 0.25, z), [(0.0, 0.23), (0.3, top)], cloth, strips=11)
    return Item(patches, 0.5, [(x, height - 0.1, z)])


def pendant(camera: Camera, rng: np.random.Generator, x: float, z: float, ceiling: float) -> Item:
    """A lamp that hangs from the ceiling."""
    low = ceiling - rng.uniform(0.45, 0.8)
    patches = turned(camera, (x, low, z), [(0.0, 0.006), (ceiling - low, 0.006)], (30, 30, 30), strips=1)
    r, h = rng.uniform(0.12, 0.24), rng.uniform(0.12, 0.26)
    profile = [(0.0, r), (h, r * 0.3)] if rng.random() < 0.5 else [(0, r * 0.3), (h * 0.5, r), (h, r * 0.3)]
    patches += turned(camera, (x, low - h, z), [(float(a), float(b)) for a, b in profile], fabric(rng))
    return Item(patches, 0.4, [(x, low - h, z)])


def curtain(camera: Camera, rng: np.random.Generator, x: tuple[float, float], ceiling: float) -> Item:
    """A curtain in folds from a rod to the floor, between two places on the wall."""
    color, top = fabric(rng), ceiling - rng.uniform(0.08, 0.3)
    folds = max(3, round((x[1] - x[0]) / 0.11))
    steps = np.linspace(0, 1, folds * 6 + 1)
    edges = x[0] + (x[1] - x[0]) * steps
    wave = 0.5 + 0.5 * np.sin(2 * np.pi * folds * steps + rng.uniform(0, 6))
    sway = 0.02 * np.sin(2 * np.pi * folds * steps + 1)
    faces: list[tuple[list[Point], Rgb]] = []
    for i in range(len(steps) - 1):
        z0, z1 = -0.1 - 0.06 * wave[i], -0.1 - 0.06 * wave[i + 1]
        ring: list[Point] = [
            (edges[i] + sway[i], 0.02, z0),
            (edges[i + 1] + sway[i + 1], 0.02, z1),
            (edges[i + 1], top, z1),
            (edges[i], top, z0),
        ]
        faces.append((ring, shade(color, 0.62 + 0.5 * float(wave[i] + wave[i + 1]) / 2)))
    rod = box(camera, (x[0] - 0.1, x[1] + 0.1), (top, top + 0.03), (-0.14, -0.11), wood(rng), strips=1)
    return Item(camera.patches(faces) + rod, x[1] - x[0])


def coffee_table(camera: Camera, rng: np.random.Generator, x: float, z: float) -> Item:
    """A low table, round or not, before the sofa."""
    color = wood(rng)
    height = rng.uniform(0.35, 0.45)
    if rng.random() < 0.5:
        radius = rng.uniform(0.35, 0.5)
        patches = turned(
            camera, (x, 0, z), [(0, radius * 0.5), (0.03, 0.04), (height - 0.04, 0.04)], shade(color, 0.7)
        )
        patches += turned(camera, (x, height - 0.04, z), [(0, radius), (0.04, radius)], color)
        patches += disc_patches(camera, (x, height, z), radius, shade(color, 1.15))
        return Item(patches, 2 * radius)
    half = rng.uniform(0.4, 0.6)
    patches = []
    for place in (x - half, x + half - 0.05):
        patches += box(
            camera, (place, place + 0.05), (0, height), (z - 0.25, z - 0.2), shade(color, 0.7), strips=1
        )
    return Item(
        patches + box(camera, (x - half, x + half), (height - 0.05, height), (z - 0.27, z + 0.27), color),
        2 * half,
    )


def rug(camera: Camera, rng: np.random.Generator, x: float) -> list[Patch]:
    """A carpet on the floor, with a border or stripes, or round."""
    ground, edge = fabric(rng), fabric(rng)
    half, near, far = rng.uniform(0.8, 1.5), -rng.uniform(1.6, 2.2), -rng.uniform(0.4, 0.8)
    if rng.random() < 0.3:
        middle = (near + far) / 2
        outer = disc_patches(camera, (x, 0.005, middle), half * 0.9, edge)
        return outer + disc_patches(camera, (x, 0.006, middle), half * 0.75, ground)
    patches = gradient_quad(
        camera, _level(x - half, x + half, near, far), shade(edge, 1.05), shade(edge, 0.85)
    )
    if rng.random() < 0.5:
        return patches + gradient_quad(
            camera,
            _level(x - half + 0.12, x + half - 0.12, near + 0.12, far - 0.12),
            ground,
            shade(ground, 0.85),
        )
    stripes = np.linspace(near, far, int(rng.integers(6, 14)))
    for start, stop in zip(stripes[:-1:2], stripes[1::2], strict=False):
        patches += gradient_quad(
            camera, _level(x - half, x + half, float(start), float(stop)), ground, ground, strips=1
        )
    return patches


def _level(left: float, right: float, near: float, far: float) -> tuple[Point, Point, Point, Point]:
    return (left, 0.005, near), (right, 0.005, near), (right, 0.005, far), (left, 0.005, far)


def wall_thing(camera: Camera, rng: np.random.Generator, x: float, y: float) -> Item:
    """A round mirror, a clock, a wall lamp or a shelf with books, around a place of the wall."""
    kind = int(rng.integers(4))
    rim = wood(rng) if rng.random() < 0.5 else (45, 42, 40)
    if kind == 0:
        radius = rng.uniform(0.16, 0.28)
        glass = rgb(0.55, 0.08, 0.8)
        patches = _wall_disc(camera, x, y, radius, rim) + _wall_disc(camera, x, y, radius * 0.9, glass)
        return Item(
            patches
            + _wall_disc(camera, x - radius * 0.2, y + radius * 0.25, radius * 0.5, shade(glass, 1.12)),
            0.5,
        )
    if kind == 1:
        patches = _wall_disc(camera, x, y, 0.16, rim) + _wall_disc(camera, x, y, 0.135, linen(rng))
        for angle, length in ((rng.uniform(0, 6.28), 0.11), (rng.uniform(0, 6.28), 0.075)):
            tip, side = (
                np.array([np.cos(angle), np.sin(angle)]),
                np.array([-np.sin(angle), np.cos(angle)]) * 0.008,
            )
            ring = [(x + side[0], y + side[1], -0.01), (x - side[0], y - side[1], -0.01)]
            ring.append((x + tip[0] * length, y + tip[1] * length, -0.01))
            patches += camera.patches([(ring, (30, 30, 30))])
        return Item(patches, 0.35)
    if kind == 2:
        patches = box(camera, (x - 0.03, x + 0.03), (y - 0.12, y + 0.04), (-0.06, 0.0), rim, strips=2)
        patches += turned(
            camera, (x, y, -0.1), [(0.0, 0.08), (0.18, 0.1)], mix(linen(rng), (255, 236, 190), 0.5)
        )
        return Item(patches, 0.3, [(x, y + 0.1, -0.1)])
    half = rng.uniform(0.2, 0.35)
    patches = box(camera, (x - half, x + half), (y - 0.03, y), (-0.2, 0.0), rim, strips=1)
    place = x - half + 0.03
    while place < x + half - 0.06:
        width = rng.uniform(0.02, 0.05)
        patches += box(
            camera,
            (place, place + width),
            (y, y + rng.uniform(0.14, 0.24)),
            (-0.16, -0.02),
            fabric(rng),
            strips=2,
        )
        place += width + (0.002 if rng.random() < 0.85 else 0.08)
    return Item(patches, 2 * half)


def _wall_disc(camera: Camera, x: float, y: float, radius: float, color: Rgb) -> list[Patch]:
    angle = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle), np.full(32, -0.015)], axis=1)
    return camera.patches([(ring, color)])
