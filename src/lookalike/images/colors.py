"""Conversion of all modes that Pillow decodes to 8-bit RGB; color profiles are not applied."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_CHUNK = 2**20  # pixels at a time in float64, which would take a gigabyte for a whole large picture


def to_rgb(image: Image.Image) -> Image.Image:
    """The picture as 8-bit RGB, with transparency over white.

    16-bit gray is scaled by 255/65535. 32-bit integer gray is taken as 8-bit if all values lie in
    [0, 255] and as 16-bit if they lie in [0, 65535]; float gray as [0, 1] or [0, 255]. Values
    outside these ranges are stretched, smallest to black and largest to white; NaN is black.
    """
    if image.mode.startswith("I;16"):
        table = ((np.arange(2**16) + 128) // 257).astype(np.uint8)  # 257 = 65535 / 255; rounds to nearest
        values = np.asarray(image)  # (H, W)
        return _gray(table[values], values, image)
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        return _gray(_eight_bits(values, (255, 65_535) if image.mode == "I" else (1, 255)), values, image)
    if image.has_transparency_data:
        return _over_white(image.convert("LA") if image.mode == "La" else image)
    return image if image.mode == "RGB" else image.convert("RGB")


def _eight_bits(values: NDArray[np.generic], tops: tuple[int, int]) -> NDArray[np.uint8]:
    """Values scaled to [0, 255] from [0, top] for the first top that holds them all, else stretched."""
    flat = values.reshape(-1)
    finite = flat[np.isfinite(flat)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    fitting = [top for top in tops if low >= 0 and high <= top]
    start, span = (0.0, float(fitting[0])) if fitting else (low, max(high - low, 1e-300))
    scaled = np.empty(flat.shape, dtype=np.uint8)
    for at in range(0, flat.size, _CHUNK):
        levels = np.rint((flat[at : at + _CHUNK].astype(np.float64) - start) * 255 / span)
        scaled[at : at + _CHUNK] = np.nan_to_num(levels, nan=0.0).clip(0, 255)
    return scaled.reshape(values.shape)


def _gray(gray: NDArray[np.uint8], values: NDArray[np.generic], image: Image.Image) -> Image.Image:
    """A gray picture as RGB, with the value that the file declares transparent as white."""
    if "transparency" in image.info:
        gray[values == image.info["transparency"]] = 255
    return Image.fromarray(gray).convert("RGB")


def _over_white(image: Image.Image) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    white.paste(rgba, mask=rgba)  # RGBA as it is: no copy without alpha, no copy of the alpha
    return white
