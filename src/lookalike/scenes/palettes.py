"""Colors that go together, drawn at random; shared by the paintings and the rooms."""

from __future__ import annotations

import colorsys

import numpy as np
from numpy.typing import NDArray

Rgb = tuple[int, int, int]  # RGB, 0..255

# Offsets of hue, in turns, of the five colors of a palette.
_SCHEMES = (
    (0.0, 0.04, -0.05, 0.08, -0.1),  # neighbors
    (0.0, 0.5, 0.03, 0.47, 0.06),  # two opposites
    (0.0, 0.333, 0.667, 0.05, 0.38),  # three corners
    (0.0, 0.42, 0.58, 0.03, 0.5),  # an opposite, split
    (0.0, 0.0, 0.02, 0.5, 0.0),  # one hue and an accent
    (0.0, 0.2, 0.4, 0.6, 0.8),  # all around
    (0.0, 0.08, 0.16, 0.24, 0.55),  # a warm or cold run
)


def rgb(hue: float, saturation: float, value: float) -> Rgb:
    """A color from hue (turns, wraps), saturation and value in [0, 1]."""
    red, green, blue = colorsys.hsv_to_rgb(
        hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0)
    )
    return round(red * 255), round(green * 255), round(blue * 255)


def shade(color: Rgb, factor: float) -> Rgb:
    """The color made darker (factor below 1) or lighter, clipped to 0..255."""
    red, green, blue = (min(255, max(0, round(channel * factor))) for channel in color)
    return red, green, blue


def mix(first: Rgb, second: Rgb, weight: float) -> Rgb:
    """The first color at weight 0, the second at weight 1."""
    red, green, blue = (round(a + (b - a) * weight) for a, b in zip(first, second, strict=True))
    return red, green, blue


def random_palette(rng: np.random.Generator) -> list[Rgb]:
    """Five colors from dark to light with one strong accent; the order of hues is random."""
    hue = rng.random()
    offsets = rng.permutation(_SCHEMES[rng.integers(len(_SCHEMES))])
    values = np.array([0.16, 0.42, 0.68, 0.86, 0.97]) + rng.uniform(-0.06, 0.06, 5)
    strength = rng.choice([0.5, 0.75, 0.95])
    saturations = np.array([0.75, 0.9, 0.85, 0.65, 0.22]) * strength + rng.uniform(-0.08, 0.1, 5)
    return [rgb(hue + o, s, v) for o, s, v in zip(offsets, saturations, values, strict=True)]


def shuffled(rng: np.random.Generator, colors: list[Rgb]) -> list[Rgb]:
    """The same colors in random order."""
    return [colors[i] for i in rng.permutation(len(colors))]


def color_ramp(colors: list[Rgb], position: NDArray[np.floating]) -> NDArray[np.uint8]:
    """The colors as a continuous scale: position (H, W) in [0, 1], clipped -> (H, W, 3)."""
    stops = np.linspace(0.0, 1.0, len(colors))
    table = np.stack([np.interp(np.linspace(0.0, 1.0, 512), stops, c) for c in np.array(colors).T], axis=1)
    colored: NDArray[np.uint8] = table.astype(np.uint8)[np.clip(position * 511.0, 0, 511).astype(np.int32)]
    return colored
