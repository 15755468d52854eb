"""Integrated gradients of the cosine, from a picture without content to the image.

Sundararajan, Taly, Yan, *Axiomatic Attribution for Deep Networks*, ICML 2017.
"""

from __future__ import annotations

from typing import Literal, final, get_args

import torch
from torch import Tensor

from lookalike.errors import check_name
from lookalike.explainers.gradients import pixel_explanation, pixel_gradients
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.ops.blurring import gaussian_blur
from lookalike.types import Explanation, Reading

Baseline = Literal["mean", "blur"]


@final
class IntegratedGradients:
    """Method ``integrated-gradients``: gradients along the straight path from a baseline. A heat map.

    ``baseline`` is "mean", the mean color of the model's normalization, or "blur", the image under a
    Gaussian of 11 x 11 pixels. The integral is the mean over the middles of ``steps`` equal pieces, so
    a map sums to the cosine less that of the baseline, but for the error of the rule. That error is a few
    hundredths for ``mini`` and large for transformers, whose gradient is steep where LayerNorm divides
    by nearly nothing, so no sum is promised. Grids are those of ``gradient-input``. Raises ValueError
    for counts below 1, UnknownNameError for another baseline.
    """

    name = "integrated-gradients"
    promise = "a heat map from gradients on the way from an empty picture"

    def __init__(
        self, embedder: Embedder, *, steps: int = 16, baseline: Baseline = "mean", batch_size: int = 8
    ) -> None:
        check_name("baseline", baseline, get_args(Baseline))
        if steps < 1 or batch_size < 1:
            raise ValueError(f"steps and batch_size must be 1 or more; got {steps} and {batch_size}")
        self.embedder, self.steps, self.batch_size = embedder, steps, batch_size
        self.baseline: Baseline = baseline

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Return the explanation of two images, from ``steps`` backward passes each.

        Raises UnsupportedMethodError for a network without a gradient.
        """
        return pixel_explanation(self.embedder, (query, match), self._products, method=self.name)

    def _products(self, image: Tensor, other: Tensor) -> Tensor:
        start = torch.zeros_like(image) if self.baseline == "mean" else gaussian_blur(image)
        positions = (torch.arange(self.steps, device=image.device) + 0.5) / self.steps
        total = torch.zeros_like(image)
        for first in range(0, self.steps, self.batch_size):
            along = positions[first : first + self.batch_size]
            points = torch.lerp(start, image, along[:, None, None, None])  # (b, 3, H, W)
            total += pixel_gradients(self.embedder, points, other).sum(0, keepdim=True)
        return total / self.steps * (image - start)
