"""Losses on distances with which AVSL is trained: Proxy-Anchor and the margin loss."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def proxy_anchor_loss(
    distances: Float[Tensor, "B P"],
    labels: Int[Tensor, " B"],
    proxy_labels: Int[Tensor, " P"],
    *,
    positive_margin: float = 1.8,
    negative_margin: float = 2.2,
    sharpness: float = 16.0,
) -> Float[Tensor, ""]:
    """Proxy-Anchor (Kim et al., CVPR 2020) on distances, smaller being closer.

    ``log(1 + sum exp(sharpness (d - positive_margin)))`` over each proxy's own images, averaged
    over proxies that have some, plus ``log(1 + sum exp(sharpness (negative_margin - d)))`` over
    the others' images, averaged over all proxies.
    """
    own = labels[:, None] == proxy_labels  # (B, P)
    pulled = _log_one_plus_sum_exp(sharpness * (distances - positive_margin), own)
    pushed = _log_one_plus_sum_exp(sharpness * (negative_margin - distances), ~own)
    present = own.any(0)
    return (pulled * present).sum() / present.sum().clamp(min=1) + pushed.mean()


def hard_triplets(
    distances: Float[Tensor, "B B"],
    labels: Int[Tensor, " B"],
    *,
    cutoff: float = 0.5,
    generator: torch.Generator | None = None,
) -> Int[Tensor, "T 3"]:
    """Indices of anchor, positive and negative: (T, 3). The positive is a random image of the anchor's
    class, the negative the nearest image of another class that is at least ``cutoff`` away.

    Where some are nearer the first of them is taken; the cutoff is at most the largest distance
    within a class. Images that lack a positive or a negative have no triplet.
    """
    same = labels[:, None] == labels
    limit = min(cutoff, float(distances.detach()[same].max()))
    hardness = distances.detach().clamp(min=limit).masked_fill(same, torch.inf)
    others = same & ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    anchors = (others.any(1) & ~same.all(1)).nonzero()[:, 0]
    if not len(anchors):
        return labels.new_empty(0, 3)
    positives = torch.multinomial(others[anchors].float(), 1, generator=generator)[:, 0]
    return torch.stack([anchors, positives, hardness[anchors].argmin(1)], dim=1)


def margin_loss(
    distances: Float[Tensor, "B B"],
    triplets: Int[Tensor, "T 3"],
    boundaries: Float[Tensor, " B"],
    *,
    margin: float = 0.2,
) -> Float[Tensor, ""]:
    """The margin loss (Wu et al., ICCV 2017): positives ``margin`` inside, negatives outside the
    learned boundary of the anchor's class; mean of the terms above zero, 0 where there is none."""
    anchor, positive, negative = triplets.unbind(1)
    boundary = boundaries[anchor]
    inside = (margin + distances[anchor, positive] - boundary).relu()
    outside = (margin - distances[anchor, negative] + boundary).relu()
    terms = torch.cat([inside, outside])
    return terms.sum() / (terms > 0).sum().clamp(min=1)


def _log_one_plus_sum_exp(values: Tensor, mask: Tensor) -> Tensor:
    """``log(1 + sum exp)`` of each column's values where the mask holds: (P,)."""
    kept = values.masked_fill(~mask, -torch.inf)
    return torch.cat([torch.zeros_like(kept[:1]), kept]).logsumexp(0)
