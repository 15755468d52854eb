"""What every explainer is: a model in hand, two images in, an Explanation out."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from lookalike import images
from lookalike.models.embedder import ImageSource
from lookalike.types import Explanation, FloatArray, Geometry, Picture


class Explainer(Protocol):
    """Explains the similarity of two images with one method."""

    def __call__(self, query: ImageSource, match: ImageSource) -> Explanation:
        """Maps of both images. Raises UnsupportedMethodError where the method does not fit."""
        ...


def picture_of(source: ImageSource) -> Picture:
    """The whole picture at full resolution, to be drawn on."""
    return images.load(source)


def to_map(values: Tensor, grid: tuple[int, int]) -> FloatArray:
    """(N,) row-major values as an (h, w) float32 array."""
    return np.asarray(values.detach().to("cpu", torch.float32).reshape(grid).numpy(), dtype=np.float32)


def whole_image(picture: Picture, input_size: tuple[int, int]) -> Geometry:
    """Geometry of a grid that spans the whole picture."""
    height, width = picture.original_size
    return Geometry(picture.original_size, input_size, (0.0, 0.0, float(height), float(width)))
