"""Conversion of all modes that Pillow decodes to 8-bit sRGB, by what the file says of its pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lookalike.images.declared import Declared, declared
from lookalike.images.grays import eight_bit_gray, gray_values
from lookalike.images.preprocessing import GrayLevels
from lookalike.images.profiles import to_srgb

_PROFILED = ("L", "RGB", "CMYK", "LAB")  # modes that a color profile can describe


def to_rgb(image: Image.Image, levels: GrayLevels | None = None) -> Image.Image:
    """The picture as 8-bit sRGB, with what is transparent or holds no data over white.

    Gray of more than 8 bits is scaled from ``levels`` or what the file declares; raises as
    ``eight_bit_gray``. Colors are converted by the file's profile if it has one.
    """
    profile = image.info.get("icc_profile")
    profile = profile if isinstance(profile, bytes) and profile else None
    meant = declared(image)
    if image.mode.startswith("I;16") or image.mode in ("I", "F") or meant.dtype is not None:
        gray = Image.fromarray(eight_bit_gray(image, meant, levels))
        return _whitened(_converted(gray, profile), _without_data(image, meant))
    if image.has_transparency_data:
        return _over_white(image.convert("LA") if image.mode == "La" else image, profile)
    if image.mode == "L" and meant.no_data is not None:
        return _whitened(_converted(image, profile), np.asarray(image) == meant.no_data)
    return _converted(image, profile)


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    """An image without transparency as sRGB."""
    if image.mode not in _PROFILED:
        image = image.convert("L" if image.mode == "1" else "RGB")
    converted = to_srgb(image, profile)
    return converted if converted.mode == "RGB" else converted.convert("RGB")


def _without_data(image: Image.Image, meant: Declared) -> NDArray[np.bool_] | None:
    """Where the values are the one that the file declares transparent or without data; None: nowhere."""
    values = gray_values(image, meant)
    masks = [
        values == v for v in (image.info.get("transparency"), meant.no_data) if isinstance(v, int | float)
    ]
    return np.logical_or.reduce(masks) if masks else None


def _whitened(image: Image.Image, mask: NDArray[np.bool_] | None) -> Image.Image:
    if mask is not None and mask.any():
        image.paste("white", mask=Image.fromarray(mask))
    return image


def _over_white(image: Image.Image, profile: bytes | None) -> Image.Image:
    rgba = image.convert("RGBA")
    white = Image.new("RGB", image.size, "white")
    if profile is None:
        white.paste(rgba, mask=rgba)  # RGBA as it is: no copy without alpha, no copy of the alpha
        return white
    opaque = image.getchannel("L") if image.mode == "LA" else rgba.convert("RGB")
    white.paste(_converted(opaque, profile), mask=rgba.getchannel("A"))
    return white
