"""Nodes of one feature level: their embeddings, activation maps and certainties."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

Maps = Float[Tensor, "B D h w"]


def node_embedding(
    features: Float[Tensor, "B C h w"], weight: Float[Tensor, "D C"], bias: Float[Tensor, " D"]
) -> Float[Tensor, "B D"]:
    """Nodes of a level: mean plus max pooling, then a 1 × 1 convolution (section 3.2)."""
    pooled = features.mean((2, 3)) + features.amax((2, 3))  # (B, C)
    return F.linear(pooled, weight, bias)


def activation_maps(
    features: Float[Tensor, "B C h w"], weight: Float[Tensor, "D C"], bias: Float[Tensor, " D"]
) -> Maps:
    """Activation maps of the nodes, whose mean over the cells is the node's embedding.

    Max pooling is made linear by giving the maximum, times the number of cells, to its cell,
    equally over ties (the published code gives all to the first of them).
    """
    flat = features.flatten(2)  # (B, C, N)
    peak = flat.amax(2, keepdim=True)
    at_peak = flat == peak
    linear = flat + at_peak * (peak * flat.shape[2] / at_peak.sum(2, keepdim=True))
    maps = weight @ linear + bias[:, None]  # (B, D, N)
    return maps.reshape(*maps.shape[:2], *features.shape[2:])


def certainty(maps: Maps) -> Float[Tensor, "B D"]:
    """Certainty of each node: standard deviation of its map scaled to sum to one; 0 or more.

    As in the published code the minimum that is subtracted first is taken over the width alone, row
    by row. A map of one cell has certainty 0.
    """
    raised = (maps - maps.amin(3, keepdim=True)).flatten(2)  # (B, D, N), none below zero
    spread = raised.std(2, correction=min(1, raised.shape[2] - 1))
    return spread / raised.sum(2).clamp(min=1e-12)


def map_cosines(low: Float[Tensor, "B D h w"], high: Float[Tensor, "B E i j"]) -> Float[Tensor, "D E"]:
    """Cosine between the maps of lower and higher nodes, averaged over images; in [-1, 1].

    The lower maps are averaged down to the grid of the higher ones.
    """
    if low.shape[2:] != high.shape[2:]:
        low = F.adaptive_avg_pool2d(low, high.shape[2:])  # type: ignore[arg-type]
    low_units = F.normalize(low.flatten(2), dim=2)
    high_units = F.normalize(high.flatten(2), dim=2)
    return torch.einsum("bdn,ben->de", low_units, high_units) / len(low)
