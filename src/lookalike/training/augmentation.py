"""Random crops and mirroring, as in the data pipelines of Proxy-Anchor and AVSL."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_RATIO = (3 / 4, 4 / 3)  # of a crop's width to its height
_ATTEMPTS = 10


def augmented(
    picture: NDArray[np.uint8],
    size: tuple[int, int],
    *,
    area: tuple[float, float],
    flip: float,
    random: np.random.Generator,
) -> NDArray[np.uint8]:
    """A random crop of an image (H, W, 3) uint8, resized to ``size`` (H, W) and mirrored at random.

    The crop covers a share of the image within ``area``; its ratio of width to height is within 3/4 and
    4/3 (Szegedy et al., *Going deeper with convolutions*, 2014).
    """
    top, left, height, width = random_crop(picture.shape[:2], area, random)
    box = (left, top, left + width, top + height)
    part = Image.fromarray(picture).resize((size[1], size[0]), Image.Resampling.BILINEAR, box)
    mirrored = random.random() < flip
    return np.array(part.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirrored else part)


def random_crop(
    size: tuple[int, ...], area: tuple[float, float], random: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw top, left, height, width of a crop in ``size`` (H, W); the largest central one if none fits."""
    full_height, full_width = size
    for _ in range(_ATTEMPTS):
        target = full_height * full_width * random.uniform(*area)
        ratio = math.exp(random.uniform(math.log(_RATIO[0]), math.log(_RATIO[1])))
        height, width = round(math.sqrt(target / ratio)), round(math.sqrt(target * ratio))
        if 0 < height <= full_height and 0 < width <= full_width:
            return (
                int(random.integers(full_height - height + 1)),
                int(random.integers(full_width - width + 1)),
                height,
                width,
            )
    width = min(full_width, round(full_height * _RATIO[1]))
    height = min(full_height, round(full_width / _RATIO[0]))
    return (full_height - height) // 2, (full_width - width) // 2, height, width
