"""The losses of AVSL's baselines (Zhang et al., CVPR 2022), as their code computes them."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.ops.avsl import hard_triplets, level_distances, margin_loss, proxy_anchor_loss


@final
class DistanceProxyAnchor(nn.Module):
    """Proxy-Anchor (Kim et al., CVPR 2020) on Euclidean distances of unit vectors, or on their squares.

    Squared distances d² = 2 - 2 cos with margins 1.8 and 2.2 and scale 16 are Kim's margin 0.1 and scale 32
    of cosines. What is left of the difference is the start: proxies are uniform within
    ``1 / sqrt(n_dims)``, and so shorter than Kim's, which makes the same learning rate turn them faster.
    """

    def __init__(
        self,
        n_classes: int,
        n_dims: int,
        *,
        positive_margin: float,
        negative_margin: float,
        sharpness: float,
        is_squared: bool,
    ) -> None:
        super().__init__()
        self.positive_margin, self.negative_margin = positive_margin, negative_margin
        self.sharpness, self.is_squared = sharpness, is_squared
        self.proxies = nn.Parameter(torch.empty(n_classes, n_dims))
        nn.init.kaiming_uniform_(self.proxies, a=math.sqrt(5))

    def forward(self, embeddings: Tensor, labels: Tensor, _mined: object = None) -> Tensor:
        """The loss of a batch (B, D)."""
        return proxy_anchor_loss(
            self._distances(embeddings),
            labels,
            torch.arange(len(self.proxies), device=labels.device),
            positive_margin=self.positive_margin,
            negative_margin=self.negative_margin,
            sharpness=self.sharpness,
        )

    def _distances(self, embeddings: Tensor) -> Tensor:
        if self.is_squared:
            return level_distances(embeddings, self.proxies)
        return torch.cdist(F.normalize(embeddings, dim=1), F.normalize(self.proxies, dim=1))


@final
class HardMargin(nn.Module):
    """The margin loss (Wu et al., ICCV 2017) on Euclidean distances, with the nearest allowed negative.

    Each anchor has one positive at random and the nearest image of another class that is at least
    ``cutoff`` away; the boundary of each class is learned.
    """

    def __init__(
        self, n_classes: int, *, margin: float = 0.2, boundary: float = 1.2, cutoff: float = 0.5
    ) -> None:
        super().__init__()
        self.margin, self.cutoff = margin, cutoff
        self.boundaries = nn.Parameter(torch.full((n_classes,), boundary))

    def forward(self, embeddings: Tensor, labels: Tensor, _mined: object = None) -> Tensor:
        """The loss of a batch (B, D)."""
        units = F.normalize(embeddings, dim=1)
        distances = torch.cdist(units, units)
        triplets = hard_triplets(distances, labels, cutoff=self.cutoff)
        return margin_loss(distances, triplets, self.boundaries[labels], margin=self.margin)
