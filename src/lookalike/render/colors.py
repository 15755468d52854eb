"""The color table of maps: signed values to colors whose opacity grows with the magnitude.

Colors are looked up after a map is enlarged: interpolated colors would not be in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import check_name
from lookalike.types import FloatArray

ByteArray = NDArray[np.uint8]

_NAMES = ("lookalike", "jet")
STEPS = 512  # table entries from 0 to one end

# OKLCH: lightness in [0, 1], chroma, hue in degrees; from zero to the end of the range
_TOGETHER = ((0.97, 0.02, 90.0), (0.86, 0.13, 84.0), (0.74, 0.16, 62.0), (0.60, 0.185, 39.0))
_APART = ((0.97, 0.015, 230.0), (0.82, 0.095, 232.0), (0.65, 0.145, 248.0), (0.46, 0.19, 262.0))

_LMS_FROM_OKLAB = np.array(
    [
        [1.0, 0.3963377774, 0.2158037573],
        [1.0, -0.1055613458, -0.0638541728],
        [1.0, -0.0894841775, -1.2914855480],
    ]
)
_RGB_FROM_LMS = np.array(
    [
        [4.0767416621, -3.3077115913, 0.2309699292],
        [-1.2684380046, 2.6097574011, -0.3413193965],
        [-0.0041960863, -0.7034186147, 1.7076147010],
    ]
)


@dataclass(frozen=True, eq=False)
class Palette:
    """A color table over relative values: 0 has no color, 1 and -1 are the ends of the range."""

    table: ByteArray  # (n, 4) RGBA from -1 to 1, evenly spaced
    gray: float  # in [0, 1]: by how much the photo below is desaturated

    def colorize(self, relative: FloatArray) -> ByteArray:
        """Return colors (..., 4) uint8 RGBA of relative values (...) float32, clipped to [-1, 1]."""
        position = (np.clip(relative, -1.0, 1.0) + 1.0) / 2.0
        index = np.rint(position * (len(self.table) - 1)).astype(np.intp)
        return np.asarray(self.table[index])


def check_colors(name: str) -> None:
    """Raise UnknownNameError unless the name is "lookalike" or "jet"."""
    check_name("palette", name, _NAMES)


def ramp(anchors: tuple[tuple[float, float, float], ...], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sRGB colors (n, 3) in [0, 1] at t (n,) in [0, 1] between OKLCH anchors, blended in OKLab."""
    lightness, chroma, hue = np.array(anchors).T
    lab = np.column_stack(
        [lightness, chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))]
    )  # (anchors, 3)
    at = np.linspace(0.0, 1.0, len(anchors))
    return srgb_from_oklab(np.column_stack([np.interp(t, at, channel) for channel in lab.T]))


@cache
def palette() -> Palette:
    """Return the signed, color-blind safe palette: blue below zero, orange above."""
    t = np.linspace(0.0, 1.0, STEPS + 1)
    apart, together = ramp(_APART, t), ramp(_TOGETHER, t)
    colors = np.concatenate([apart[:0:-1], together])
    opacity = np.concatenate([_opacity(t)[:0:-1], _opacity(t)])
    return Palette(_as_bytes(np.column_stack([colors, opacity])), 0.8)


def _opacity(t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Opacity from 0 (the photo alone) to 0.82, rising slightly faster than linearly at first."""
    return np.asarray(0.82 * t**0.85)


def srgb_from_oklab(lab: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sRGB (n, 3) in [0, 1], clipped to the gamut, of OKLab colors (n, 3) (Ottosson 2020)."""
    linear = np.clip((lab @ _LMS_FROM_OKLAB.T) ** 3 @ _RGB_FROM_LMS.T, 0.0, 1.0)
    return np.asarray(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def oklab_from_srgb(srgb: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return OKLab (n, 3), lightness first in [0, 1], of sRGB colors (n, 3) in [0, 1]."""
    linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
    lms = np.cbrt(linear @ np.linalg.inv(_RGB_FROM_LMS).T)
    return np.asarray(lms @ np.linalg.inv(_LMS_FROM_OKLAB).T)


def _as_bytes(rgba: NDArray[np.float64]) -> ByteArray:
    return np.rint(rgba * 255.0).astype(np.uint8)
