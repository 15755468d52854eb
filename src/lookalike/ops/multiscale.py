"""One embedding from several scales of an image, and the factors that merge their shares."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def merge_scales(embeddings: Float[Tensor, "S D"], power: Float[Tensor, ""]) -> Float[Tensor, " D"]:
    """Generalized mean over scales, ``mean(e^p)^(1/p)``: (D,). Radenović et al., TPAMI 2019.

    With a power other than 1 the embeddings must not be negative.
    """
    if float(power) == 1:
        return embeddings.mean(0)
    return embeddings.pow(power).mean(0).pow(1 / power)


def scale_factors(embeddings: Float[Tensor, "S D"], power: Float[Tensor, ""]) -> Float[Tensor, "S D"]:
    """Factors on each scale's shares, by channel, with which they sum to ``merge_scales``.

    A channel is divided over the scales in proportion to ``e^p``.
    """
    if float(power) == 1:
        return torch.full_like(embeddings, 1 / embeddings.shape[0])
    total = embeddings.pow(power).sum(0)
    factors = embeddings.pow(power - 1) * merge_scales(embeddings, power) / total
    return torch.where((total > 0) & (embeddings > 0), factors, 0.0)
