"""From the vectors of shortlists to new scores: CSA as published, and with a view of any embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from lookalike.networks.csa import ContextNetwork
from lookalike.ops.affinity import affinity_features, refined_similarities
from lookalike.ops.context import expanded_cosines, shortlist_cosines, standardised_columns


@final
class PublishedScorer(nn.Module):
    """CSA as published: cosines with the anchors in, cosine of the refined features out."""

    def __init__(self, network: ContextNetwork) -> None:
        super().__init__()
        self.network = network

    def inputs(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Affinity features (B, 1 + K, L)."""
        return affinity_features(queries, candidates, self.network.sizes.n_anchors)

    def scores(self, inputs: Tensor, tokens: Tensor) -> Tensor:
        """Cosine of every refined candidate with the refined query: (B, K) in [-1, 1]."""
        return refined_similarities(tokens)[:, 1:]

    def forward(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scores (B, K)."""
        inputs = self.inputs(queries, candidates)
        return self.scores(inputs, self.network(inputs))


@dataclass(frozen=True)
class ExpansionView:
    """How items are expanded before they are compared; see ``ops.context.expanded_cosines``."""

    neighbours: int = 5
    alpha: float = 3.0


@final
class ExpandedScorer(nn.Module):
    """CSA on two standardised views of a shortlist, plus a weighted sum of those views.

    The views are the cosines and the cosines after expansion (aQE of every item), L / 2 anchors each.
    The sum keeps what the first stage and the expansion know; the refined features correct it. It
    starts as the expanded cosine with the query alone.
    """

    def __init__(self, network: ContextNetwork, view: ExpansionView) -> None:
        super().__init__()
        if network.sizes.n_anchors % 2:
            raise ValueError(f"two views need an even number of columns, got {network.sizes.n_anchors}")
        self.network = network
        self.view = view
        self.direct = nn.Parameter(torch.zeros(network.sizes.n_anchors))
        with torch.no_grad():
            self.direct[network.sizes.n_anchors // 2] = 0.2

    def inputs(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Both views side by side (B, 1 + K, L)."""
        n_anchors = self.network.sizes.n_anchors // 2
        cosines = shortlist_cosines(queries, candidates)
        expanded = expanded_cosines(cosines, self.view.neighbours, self.view.alpha)
        return torch.cat([standardised_columns(view, n_anchors) for view in (cosines, expanded)], dim=2)

    def scores(self, inputs: Tensor, tokens: Tensor) -> Tensor:
        """Refined cosine plus the weighted sum of the candidate's row: (B, K)."""
        return refined_similarities(tokens)[:, 1:] + inputs[:, 1:] @ self.direct

    def forward(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scores (B, K)."""
        inputs = self.inputs(queries, candidates)
        return self.scores(inputs, self.network(inputs))


ShortlistScorer = PublishedScorer | ExpandedScorer
