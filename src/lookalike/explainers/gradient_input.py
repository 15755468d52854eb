"""Gradient times input: what each pixel adds to the cosine, to first order.

Shrikumar, Greenside, Kundaje, *Learning Important Features Through Propagating Activation
Differences*, ICML 2017, sections 2 and 3; the gradient alone is that of Simonyan, Vedaldi, Zisserman,
*Deep Inside Convolutional Networks*, ICLR workshop 2014.
"""

from __future__ import annotations

from typing import final

from torch import Tensor

from lookalike.explainers.gradients import pixel_explanation, pixel_gradients
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.types import Explanation, Reading


@final
class GradientInput:
    """Method ``gradient-input``: the gradient to normalized pixels times those pixels. A heat map.

    A pixel of the mean color of the model's normalization counts as zero. The products are summed over
    channels and the cells of the model's feature grid (14 along the shorter side where it has none).
    """

    name = "gradient-input"
    promise = "a heat map from one gradient to the pixels"

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from one backward pass each.

        Raises UnsupportedMethodError for a network without a gradient.
        """
        return pixel_explanation(self.embedder, (query, match), self._products, method=self.name)

    def _products(self, image: Tensor, other: Tensor) -> Tensor:
        return pixel_gradients(self.embedder, image, other) * image
