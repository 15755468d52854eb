"""The default explanation: each cell's share of the cosine, exact for every additive pooling.

Generalizes Stylianou, Souvenir, Pless, *Visualizing Deep Similarity Networks*, WACV 2019, from
average and max pooling to any pooling and head (see ``ops.propagation``).
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lookalike.explainers.base import picture_of, to_map
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.ops.attribution import cell_similarity, mutual_best_matches, similarity_maps
from lookalike.ops.similarity import cosine_similarity
from lookalike.types import CellMatch, CellSimilarity, Difference, Explanation, Shares


@final
class SharesExplainer:
    """Method ``shares``: the maps sum to the cosine, less the residual of what no cell accounts for."""

    name = "shares"
    promise = "sums to the similarity"

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder

    def __call__(self, query: ImageSource, match: ImageSource) -> Explanation:
        """Explain two images by two forward passes and one product."""
        return explain_shares(
            self.embedder.shares(query),
            self.embedder.shares(match),
            query,
            match,
            model=self.embedder.name,
        )


def explain_shares(
    query_shares: Shares, match_shares: Shares, query: ImageSource, match: ImageSource, *, model: str
) -> Explanation:
    """The explanation of two images whose shares are known already."""
    query_unit, match_unit = unit(query_shares), unit(match_shares)
    return Explanation(
        similarity=float(query_unit @ match_unit),
        query_map=to_map(_map(query_shares, match_unit), query_shares.grid),
        match_map=to_map(_map(match_shares, query_unit), match_shares.grid),
        method=SharesExplainer.name,
        additive=True,
        model=model,
        query=picture_of(query),
        match=picture_of(match),
        query_geometry=query_shares.geometry,
        match_geometry=match_shares.geometry,
    )


def difference(
    embedder: Embedder, query: ImageSource, preferred: ImageSource, other: ImageSource
) -> Difference:
    """Why the query is closer to ``preferred`` than to ``other``: positive cells speak for it."""
    shares = embedder.shares(query)
    preferred_unit, other_unit = unit(embedder.shares(preferred)), unit(embedder.shares(other))
    query_unit = unit(shares)
    return Difference(
        query_map=to_map(_map(shares, preferred_unit - other_unit), shares.grid),
        preferred_similarity=float(query_unit @ preferred_unit),
        other_similarity=float(query_unit @ other_unit),
        model=embedder.name,
        query=picture_of(query),
        query_geometry=shares.geometry,
        preferred=picture_of(preferred),
        other=picture_of(other),
    )


def place_matches(embedder: Embedder, query: ImageSource, match: ImageSource) -> CellSimilarity:
    """Which cell of the query goes with which cell of the match, and how much each pair gives.

    Two cells match where each is the other's most alike by cosine of their shares: by share of
    the similarity the cells with the largest features would win everywhere.
    """
    a, b = embedder.shares(query), embedder.shares(match)
    query_values, match_values = a.values.double(), b.values.double()
    values = cell_similarity(query_values, match_values, a.total.double().norm(), b.total.double().norm())
    cosines = cosine_similarity(query_values, match_values)
    matches = [
        CellMatch(divmod(i, a.grid[1]), divmod(j, b.grid[1]), float(values[i, j]), float(cosines[i, j]))
        for i, j in mutual_best_matches(cosines).tolist()
    ]
    return CellSimilarity(
        values=to_map(values, (values.shape[0], values.shape[1])),
        query_grid=a.grid,
        match_grid=b.grid,
        matches=tuple(sorted(matches, key=lambda m: -m.contribution)),
        similarity=float(unit(a) @ unit(b)),
        model=embedder.name,
        query=picture_of(query),
        match=picture_of(match),
        query_geometry=a.geometry,
        match_geometry=b.geometry,
    )


def unit(shares: Shares) -> Tensor:
    """The unit embedding that the shares sum to: (D,) float64."""
    return torch.nn.functional.normalize(shares.total.double(), dim=0)


def _map(shares: Shares, target: Tensor) -> Tensor:
    maps: Tensor = similarity_maps(shares.values.double(), shares.residual.double(), target[None])
    return maps[0]
