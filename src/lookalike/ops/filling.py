"""Regions of a picture filled smoothly from what surrounds them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F


def filled_smoothly(pictures: Float[Tensor, "B C H W"], masks: Bool[Tensor, "B H W"]) -> Tensor:
    """Pictures (B, C, H, W) whose masked pixels continue what lies around them, without an edge of their own.

    Each takes its value from the finest level of a pyramid that has a visible pixel there (pull and push;
    Gortler et al., *The Lumigraph*, SIGGRAPH 1996, section 3.4). A picture that is masked whole becomes 0.

    >>> picture = torch.tensor([[[[1.0, 1.0, 9.0, 3.0]]]])
    >>> filled_smoothly(picture, torch.tensor([[[False, False, True, False]]])).tolist()
    [[[[1.0, 1.0, 3.0, 3.0]]]]
    """
    weights = (~masks)[:, None].to(pictures)
    return _pulled_and_pushed(pictures * weights, weights)


def _pulled_and_pushed(sums: Tensor, weights: Tensor) -> Tensor:
    """Means of visible pixels where there are any, and what the coarser level has elsewhere."""
    means = sums / weights.clamp(min=1e-6)
    if bool((weights > 0).all()) or sums.shape[2] * sums.shape[3] == 1:
        return means
    coarser = [F.avg_pool2d(each, 2, ceil_mode=True, count_include_pad=False) for each in (sums, weights)]
    rest = F.interpolate(_pulled_and_pushed(*coarser), size=sums.shape[2:], mode="nearest")
    return torch.where(weights > 0, means, rest)
