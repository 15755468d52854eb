"""Color profiles: from the colors that a file's ICC profile describes to sRGB, by LittleCMS."""

from __future__ import annotations

import io
import logging
from functools import lru_cache
from typing import Any

import numpy as np
from PIL import Image

_MODE_OF_SPACE = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK", "Lab": "LAB"}  # ICC signature: Pillow's mode
_MAX_BYTES = 8 * 2**20  # profiles of printing presses take up to 3 MiB
_logger = logging.getLogger(__name__)


def to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """The image (L, RGB, CMYK or LAB) as sRGB by its profile; without one, or by a damaged one, as it is.

    Relative colorimetric with black point compensation. LAB without a profile is CIE L*a*b* at D50.
    """
    transform = _transform(profile, image.mode) if profile or image.mode == "LAB" else None
    if transform is None:
        return image
    converted: Image.Image = transform.apply(image)
    return converted


@lru_cache(maxsize=8)
def _transform(profile: bytes | None, mode: str) -> Any:
    """LittleCMS's transform from a profile to sRGB; None where there is nothing to do."""
    if profile is not None and len(profile) > _MAX_BYTES:
        return None
    from PIL import ImageCms  # here, because few pictures need it

    try:
        source = ImageCms.createProfile("LAB")
        if profile is not None:
            source = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile
            if _MODE_OF_SPACE.get(source.xcolor_space.strip()) != mode:
                return None
        transform = ImageCms.buildTransform(
            ImageCms.ImageCmsProfile(source),
            ImageCms.createProfile("sRGB"),
            mode,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
        return None if mode in ("L", "RGB") and _changes_nothing(transform, mode) else transform
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError, TypeError) as error:
        _logger.info("a color profile can't be applied: %s", error)
        return None


def _changes_nothing(transform: Any, mode: str) -> bool:
    """Whether a transform is that of sRGB to itself, but for rounding; a profile's name does not tell."""
    steps = np.arange(0, 256, 15, dtype=np.uint8)  # 18 of each channel
    colors = np.stack(np.meshgrid(steps, steps, steps), -1).reshape(18, -1, 3)
    given = Image.fromarray(colors[..., 0] if mode == "L" else colors)
    converted = np.asarray(transform.apply(given)).astype(int)
    return bool(np.abs(converted - np.asarray(given.convert("RGB"))).max() <= 1)
