"""Protocol of the explainers, and the conversions that they share."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lookalike.models.embedder import Embedder, ImageSource
from lookalike.types import Explanation, FloatArray, ImageMap, Reading


class Explainer(Protocol):
    """One explanation method, bound to a model."""

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return maps of both images. Raises UnsupportedMethodError if the method does not fit."""
        ...


def read_whole(source: ImageSource | Reading, embedder: Embedder) -> Reading:
    """Decode an image at full size and prepare it for the model; a Reading is returned as it is."""
    return source if isinstance(source, Reading) else embedder.read(embedder.picture(source))


def image_map(reading: Reading, values: Tensor, grid: tuple[int, int]) -> ImageMap:
    """Return row-major values (N,) as the map of an image, on a grid (h, w) with N = h * w."""
    return ImageMap(reading.picture, reading.geometry, to_array(values, grid))


def to_array(values: Tensor, grid: tuple[int, int]) -> FloatArray:
    """Return row-major values (N,) as an (h, w) float32 array, zeros without a sign."""
    array = values.detach().to("cpu", torch.float32).reshape(grid).numpy()
    return np.asarray(array + np.float32(0), dtype=np.float32)
