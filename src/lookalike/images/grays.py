"""Gray values of more than 8 bits as 8-bit gray, on a scale that is the same for every picture."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.images.declared import Declared
from lookalike.images.preprocessing import GrayLevels

_CHUNK = 2**20  # pixels at a time in float64, which would take a gigabyte for a whole large picture
_TABLE = 2**16


class UnknownLevelsError(Exception):
    """Nothing says which values are black and white; the message says how to give them."""


def gray_values(image: Image.Image, meant: Declared) -> NDArray[Any]:
    """The gray values (H, W) in the file's own type: Pillow has no signed 8 and no unsigned 32 bits."""
    values = np.asarray(image)
    return values if meant.dtype is None else values.view(meant.dtype)


def eight_bit_gray(image: Image.Image, meant: Declared, levels: GrayLevels | None) -> NDArray[np.uint8]:
    """Gray values (H, W) in [0, 255] of an image of more than 8 bits or of signed ones.

    NaN is 255, as what is transparent.

    Black and white lie at ``levels`` where they are given, else where the file declares them, or at 0
    and 1 for floats that are all between. Values beyond are clipped. Raises UnknownLevelsError where
    black and white are not known: stretched by itself, each picture would have a scale of its own.
    """
    values = gray_values(image, meant)
    black, white = levels or _declared_levels(values, meant)
    if meant.white_is_zero:
        black, white = white, black
    if values.dtype == np.uint16:
        table = _scaled(np.arange(_TABLE), black, white)
        gray: NDArray[np.uint8] = table[values]
        return gray
    flat = values.reshape(-1)
    scaled = np.empty(flat.shape, dtype=np.uint8)
    for at in range(0, flat.size, _CHUNK):
        scaled[at : at + _CHUNK] = _scaled(flat[at : at + _CHUNK], black, white)
    return scaled.reshape(values.shape)


def _scaled(values: NDArray[np.generic], black: float, white: float) -> NDArray[np.uint8]:
    with np.errstate(over="ignore"):
        levels = np.rint((values.astype(np.float64) - black) * 255 / (white - black))
    return np.nan_to_num(levels, nan=255.0).clip(0, 255).astype(np.uint8)


def _declared_levels(values: NDArray[np.generic], meant: Declared) -> GrayLevels:
    if meant.top is not None:
        return 0.0, meant.top
    is_data = np.isfinite(values)
    if meant.no_data is not None:
        is_data &= values != meant.no_data
    low, high = _extremes(values, is_data)
    if values.dtype.kind == "f" and low >= 0 and high <= 1:
        return 0.0, 1.0
    kind = "floating" if values.dtype.kind == "f" else "32-bit or signed"
    raise UnknownLevelsError(
        f"{kind} gray values from {low:g} to {high:g}, and the file does not say which are black and white; "
        "give both once for all pictures, as --levels BLACK,WHITE or levels=(BLACK, WHITE)"
    )


def _extremes(values: NDArray[np.generic], is_data: NDArray[np.bool_]) -> tuple[float, float]:
    if not is_data.any():
        return 0.0, 0.0
    data = values[is_data]
    return float(data.min()), float(data.max())
