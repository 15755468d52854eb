"""Painting styles that color a continuous field: landscapes, marble, waves, spots, color fields."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from lookalike.scenes.noise import lookup, smooth_noise, square_grid
from lookalike.scenes.palettes import Rgb, color_ramp, mix, random_palette, shade, shuffled


def landscape(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Ridges one behind the other under a sky with a sun or moon: (n, n, 3)."""
    colors = random_palette(rng)
    x, y = square_grid(n)
    sky = [colors[int(rng.integers(1, 4))], colors[3], colors[4]]
    picture = color_ramp(sky, y * 0.5 + 0.6)
    sun_x, sun_y, radius = rng.uniform(-0.6, 0.6), rng.uniform(-0.7, -0.1), rng.uniform(0.13, 0.32)
    distance = np.hypot(x - sun_x, y - sun_y)
    glow = np.exp(-((distance / (radius * 2.2)) ** 2))[..., None] * 0.5
    picture = (picture * (1 - glow) + 255 * glow).astype(np.uint8)
    picture[distance < radius] = mix(colors[2], (255, 250, 235), rng.uniform(0.1, 0.8))
    ridges = int(rng.integers(3, 6))
    horizon, roughness = rng.uniform(-0.2, 0.15), int(rng.integers(1, 4))
    near, far = colors[0], mix(colors[1], colors[3], 0.6)
    for ridge in range(ridges):
        relief = smooth_noise(rng, (1, n), cells=(1, int(rng.integers(2, 5))), octaves=roughness + 1)[0]
        height = horizon + (1 - horizon) * ridge / ridges + rng.uniform(0.2, 0.5) * (0.5 - relief)
        color = mix(far, near, ridge / max(ridges - 1, 1))
        picture[y > height[None, :]] = color
    return np.asarray(picture)


def marble(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Noise bent by noise bent by noise, like ink in water: (n, n, 3)."""
    colors = random_palette(rng) if rng.random() < 0.5 else shuffled(rng, random_palette(rng))
    x, y = square_grid(n)
    cells = int(rng.integers(2, 4))
    first, second, base = (smooth_noise(rng, (n, n), cells=(cells, cells), octaves=3) for _ in range(3))
    strength = rng.uniform(0.8, 1.8)
    bent_x = x + strength * (first - 0.5)
    bent_y = y + strength * (lookup(second, bent_x, y) - 0.5)
    value = lookup(base, bent_x, bent_y)
    bands = rng.choice([1.0, 2.0, 4.0])
    return color_ramp(colors, 1.0 - np.abs((value * bands * 1.3 + rng.random()) % 2.0 - 1.0))


def interference(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Circular waves from a few sources that add up: (n, n, 3)."""
    colors = shuffled(rng, random_palette(rng))
    x, y = square_grid(n)
    sources = rng.uniform(-1.2, 1.2, (int(rng.integers(2, 5)), 2))
    frequency = rng.uniform(8, 20)
    total = np.zeros_like(x)
    for source_x, source_y in sources:
        total += np.sin(np.hypot(x - source_x, y - source_y) * frequency + rng.uniform(0, 6.28))
    position = total / len(sources) * 0.5 + 0.5
    if rng.random() < 0.4:
        position = np.floor(position * 5) / 4
    return color_ramp(colors, position.astype(np.float32))


def quasicrystal(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Plane waves at equal angles, five- to nine-fold and never repeating: (n, n, 3)."""
    colors = random_palette(rng) if rng.random() < 0.4 else shuffled(rng, random_palette(rng))
    x, y = square_grid(n)
    x, y = x - rng.uniform(-0.4, 0.4), y - rng.uniform(-0.4, 0.4)
    fold = int(rng.choice([5, 7, 9]))
    frequency = rng.uniform(9, 20)
    angles = np.arange(fold) * np.pi / fold + rng.uniform(0, np.pi)
    total = np.zeros_like(x)
    for angle in angles:
        total += np.cos((x * np.cos(angle) + y * np.sin(angle)) * frequency)
    return color_ramp(colors, 1.0 - np.abs((total / fold * 2.2 + 1.0) % 2.0 - 1.0))


def spots(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Labyrinths and spots as on an animal's coat, over two soft grounds: (n, n, 3)."""
    colors = random_palette(rng)
    k = int(rng.integers(9, 18))
    stretch = int(rng.choice([1, 1, 2]))
    fine = smooth_noise(rng, (n, n), cells=(k, k // stretch))
    coarse = smooth_noise(rng, (n, n), cells=(k // 3, max(1, k // 3 // stretch)))
    value = fine - 0.7 * coarse
    level = float(np.quantile(value[::4, ::4], rng.uniform(0.35, 0.65)))
    ground = smooth_noise(rng, (n, n), cells=(2, 2))
    light = color_ramp([colors[4], colors[3]], ground)
    dark = color_ramp([colors[1], colors[2]] if rng.random() < 0.6 else [colors[0], colors[1]], ground)
    picture = np.where((value > level)[..., None], light, dark)
    picture[np.abs(value - level) < 0.025] = shade(colors[0], 0.7)
    core = value > level + 0.22
    picture[core] = colors[2]
    return picture


def color_field(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Two to four blurred blocks of color that float on a ground: (n, n, 3)."""
    colors = shuffled(rng, random_palette(rng))
    x, y = square_grid(n)
    cloth = smooth_noise(rng, (n, n), cells=(8, 8), octaves=3)[..., None]
    picture = np.broadcast_to(np.array(colors[0], dtype=np.float32), (n, n, 3)).copy()
    edges = np.concatenate([[-0.9], np.sort(rng.uniform(-0.55, 0.6, int(rng.integers(1, 4)))), [0.9]])
    softness, inset = rng.uniform(0.02, 0.07), rng.uniform(0.68, 0.9)
    for block, (top, bottom) in enumerate(pairwise(edges)):
        middle, half = (top + bottom) / 2, max((bottom - top) / 2 - 0.05, 0.06)
        wobble = (cloth[..., 0] - 0.5) * 0.06
        across = 1 / (1 + np.exp((np.abs(x) - inset + wobble) / softness))
        along = 1 / (1 + np.exp((np.abs(y - middle) - half + wobble) / softness))
        weight = (across * along)[..., None] * (0.75 + 0.25 * cloth)
        picture += (np.array(colors[1 + block % 4], dtype=np.float32) - picture) * weight
    return np.clip(picture * (0.9 + 0.15 * cloth), 0, 255).astype(np.uint8)


def stripes(rng: np.random.Generator, n: int) -> NDArray[np.uint8]:
    """Bands of uneven width, straight, waved or fanned out from a point: (n, n, 3)."""
    colors = random_palette(rng)
    x, y = square_grid(n)
    angle = rng.uniform(0, np.pi)
    along, across = x * np.cos(angle) + y * np.sin(angle), -x * np.sin(angle) + y * np.cos(angle)
    kind = int(rng.integers(3))
    if kind == 0:
        position = along + rng.uniform(0.0, 0.08) * np.sin(across * rng.uniform(2, 6))
    elif kind == 1:
        position = along + rng.uniform(0.15, 0.4) * np.sin(across * rng.uniform(2, 5) + rng.uniform(0, 6))
    else:
        center = rng.uniform(-0.9, 0.9, 2)
        position = np.arctan2(y - center[1], x - center[0]) / np.pi * 1.4
    count = int(rng.integers(9, 20))
    edges = np.sort(rng.uniform(-1.4, 1.4, count))
    band = np.searchsorted(edges, position.ravel()).reshape(n, n)
    table: NDArray[np.uint8] = np.array(_bands(rng, colors, count + 1), dtype=np.uint8)
    return np.asarray(table[band])


def _bands(rng: np.random.Generator, colors: list[Rgb], count: int) -> list[Rgb]:
    """Colors for neighboring bands, no two alike in a row."""
    steps = rng.integers(1, 5, count).cumsum() % 5
    return [colors[i] for i in steps]
