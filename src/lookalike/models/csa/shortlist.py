"""Scorers of shortlists by their embeddings: CSA as published, and on standardized views.

A shortlist may be shorter than what a scorer compares it with: ``following`` (B, M, D) are the items that
come after the candidates (B, K, D) in the whole ranking, up to ``n_context`` together.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.models.csa.network import ContextNetwork
from lookalike.ops.affinity import affinity_features, refined_similarities
from lookalike.ops.context import (
    expanded_cosines,
    mutual_cosines,
    shortlist_cosines,
    standardized_columns,
)

DIRECT_UNIT = 0.1  # unit of the weighted sum's weights, so that one learning rate suits all parameters


@final
class PublishedScorer(nn.Module):
    """CSA as published: cosines with the anchors in, cosine of the refined features out."""

    def __init__(self, network: ContextNetwork) -> None:
        super().__init__()
        self.network = network

    @property
    def n_context(self) -> int:
        """Number of first results that may be anchors."""
        return self.network.sizes.n_anchors

    def inputs(self, queries: Tensor, candidates: Tensor, following: Tensor | None = None) -> Tensor:
        """Affinity features (B, 1 + K, L); the anchors go on into ``following``."""
        return affinity_features(queries, candidates, self.network.sizes.n_anchors, following)

    def scores(self, inputs: Tensor, tokens: Tensor) -> Tensor:
        """Cosine of every refined candidate with the refined query: (B, K) in [-1, 1]."""
        return refined_similarities(tokens)[:, 1:]

    def forward(self, queries: Tensor, candidates: Tensor, following: Tensor | None = None) -> Tensor:
        """Scores (B, K)."""
        inputs = self.inputs(queries, candidates, following)
        return self.scores(inputs, self.network(inputs))


@dataclass(frozen=True)
class ExpansionView:
    """Settings of the views of a shortlist; see ``ops.context``."""

    neighbors: int = 5  # of an item's expansion
    alpha: float = 3.0  # and their weights' power
    mutual: int = 10  # nearest items among which mutual neighbors are sought
    smooth: int = 4  # items whose mutual neighbors are averaged


N_VIEWS = 3


@final
class ExpandedScorer(nn.Module):
    """CSA on three standardized views of a shortlist, plus a weighted sum of those views.

    The views are the cosines, the cosines after expansion (aQE of every item) and the similarity of
    mutual neighbors (k-reciprocal), L / 3 anchors each. The refined query determines the weight of
    each view in the sum, and the refined features correct it. Untrained, it is the sum of the three
    views with the query alone.
    """

    def __init__(self, network: ContextNetwork, view: ExpansionView) -> None:
        super().__init__()
        if network.sizes.n_anchors % N_VIEWS:
            raise ValueError(
                f"{N_VIEWS} views need as many anchors each, got {network.sizes.n_anchors} columns together"
            )
        self.network = network
        self.view = view
        self.direct = nn.Parameter(torch.zeros(network.sizes.n_anchors))
        self.gate = nn.Linear(network.sizes.width, network.sizes.n_anchors, bias=False)
        with torch.no_grad():
            self.direct[:: network.sizes.n_anchors // N_VIEWS] = 0.7
            self.gate.weight.zero_()

    @property
    def n_context(self) -> int:
        """Number of first results that may be anchors."""
        return self.network.sizes.n_anchors // N_VIEWS

    def inputs(self, queries: Tensor, candidates: Tensor, following: Tensor | None = None) -> Tensor:
        """All views side by side (B, 1 + K + M, L) of the list prolonged by ``following``."""
        n_anchors = self.network.sizes.n_anchors // N_VIEWS
        prolonged = candidates if following is None else torch.cat([candidates, following], dim=1)
        cosines = shortlist_cosines(queries, prolonged)
        expanded = expanded_cosines(cosines, self.view.neighbors, self.view.alpha)
        mutual = mutual_cosines(cosines, self.view.mutual, self.view.smooth)
        return torch.cat([standardized_columns(v, n_anchors) for v in (cosines, expanded, mutual)], dim=2)

    def scores(self, inputs: Tensor, tokens: Tensor) -> Tensor:
        """Refined cosine plus the weighted sum of the candidate's row: (B, K + M)."""
        query = F.layer_norm(tokens[:, 0], tokens.shape[2:])
        weights = (self.direct + self.gate(query))[:, :, None]  # (B, L, 1)
        known: Tensor = (inputs[:, 1:] @ weights).squeeze(2)
        return refined_similarities(tokens)[:, 1:] + DIRECT_UNIT * known

    def forward(self, queries: Tensor, candidates: Tensor, following: Tensor | None = None) -> Tensor:
        """Scores (B, K)."""
        inputs = self.inputs(queries, candidates, following)
        return self.scores(inputs, self.network(inputs))[:, : candidates.shape[1]]


ShortlistScorer = PublishedScorer | ExpandedScorer
