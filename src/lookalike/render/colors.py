"""Color tables for maps: signed values to colors whose opacity grows with the magnitude.

Colors are looked up after a map is enlarged: interpolated colors would not be in the table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import check_name
from lookalike.types import FloatArray

ByteArray = NDArray[np.uint8]

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
    """A color table from one end of a range to the other."""

    name: str
    signed: bool  # True: -limit..limit around zero; False: 0..limit, negative values drawn as zero
    table: ByteArray  # (n, 4) RGBA from the lowest value to the highest, evenly spaced
    gray: float  # in [0, 1]: by how much the photo below is desaturated

    def range_of(self, limit: float) -> tuple[float, float]:
        """Return the values at the two ends of the table for a color limit."""
        return (-limit, limit) if self.signed else (0.0, limit)

    def colorize(self, values: FloatArray, limit: float) -> ByteArray:
        """Return colors (..., 4) uint8 RGBA of values (...) float32, clipped to the limit.

        With a limit of 0 every value has the color of zero.
        """
        low, high = self.range_of(1.0)
        relative = values / np.float32(limit) if limit > 0 else np.zeros_like(values)
        position = (np.clip(relative, low, high) - low) / (high - low)
        index = np.rint(position * (len(self.table) - 1)).astype(np.intp)
        return np.asarray(self.table[index])


def palette(name: str) -> Palette:
    """Return the palette by name: "lookalike" (signed, color-blind safe) or "jet".

    "jet" is the papers' rendition: rainbow colors at half opacity on the positive part only.
    Raises UnknownNameError for another name.
    """
    builders: dict[str, Callable[[], Palette]] = {"lookalike": _lookalike, "jet": _jet}
    check_name("palette", name, builders)
    return builders[name]()


def ramp(anchors: tuple[tuple[float, float, float], ...], t: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sRGB colors (n, 3) in [0, 1] at t (n,) in [0, 1] between OKLCH anchors, blended in OKLab."""
    lightness, chroma, hue = np.array(anchors).T
    lab = np.column_stack(
        [lightness, chroma * np.cos(np.radians(hue)), chroma * np.sin(np.radians(hue))]
    )  # (anchors, 3)
    at = np.linspace(0.0, 1.0, len(anchors))
    return srgb_from_oklab(np.column_stack([np.interp(t, at, channel) for channel in lab.T]))


@cache
def _lookalike() -> Palette:
    t = np.linspace(0.0, 1.0, STEPS + 1)
    apart, together = ramp(_APART, t), ramp(_TOGETHER, t)
    colors = np.concatenate([apart[:0:-1], together])
    opacity = np.concatenate([_opacity(t)[:0:-1], _opacity(t)])
    return Palette("lookalike", True, _as_bytes(np.column_stack([colors, opacity])), 0.8)


@cache
def _jet() -> Palette:
    t = np.linspace(0.0, 1.0, STEPS + 1)
    centers = np.array([0.75, 0.5, 0.25])  # where red, green and blue are strongest
    colors = np.clip(1.5 - 4.0 * np.abs(t[:, None] - centers), 0.0, 1.0)
    return Palette("jet", False, _as_bytes(np.column_stack([colors, np.full_like(t, 0.5)])), 0.0)


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
