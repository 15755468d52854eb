"""What every explainer is: a model in hand, two images in, an Explanation out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lookalike import images
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.types import Explanation, FloatArray, ImageMap, Reading


class Explainer(Protocol):
    """Explains the similarity of two images with one method."""

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Maps of both images. Raises UnsupportedMethodError where the method does not fit."""
        ...


def read_whole(source: ImageSource | Reading, embedder: Embedder) -> Reading:
    """The image decoded once at its full size, to be drawn on, and prepared for the model."""
    return source if isinstance(source, Reading) else embedder.read(images.load(source))


def image_map(reading: Reading, values: Tensor, grid: tuple[int, int]) -> ImageMap:
    """(N,) row-major values as the map of an image."""
    return ImageMap(reading.picture, reading.geometry, to_array(values, grid))


def to_array(values: Tensor, grid: tuple[int, int]) -> FloatArray:
    """(N,) row-major values as an (h, w) float32 array."""
    return np.asarray(values.detach().to("cpu", torch.float32).reshape(grid).numpy(), dtype=np.float32)
