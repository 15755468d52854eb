"""Re-ranking by places: how much of the similarity is held by pairs of places that prefer each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from lookalike.ops.attribution import affinity, mutual_best_matches
from lookalike.ops.similarity import cosine_similarity
from lookalike.rerankers.base import move_of, one_query, reordered
from lookalike.rerankers.options import at_least_one, not_negative
from lookalike.types import Move, Ranking, Shares


@final
class SharesReranking:
    """Method ``shares``: cosine plus ``weight`` times the similarity held by mutual best matches.

    Two places match where each is the other's most alike by cosine of their shares. What holds the
    similarity is then the pair itself and not two pictures' general look. Only the first ``n`` of
    each shortlist are looked at; the rest keep their order behind them. No gallery item lifts
    another here, so a move has no influences: ``place_matches`` shows the places instead.
    """

    name = "shares"

    def __init__(
        self,
        query_shares: Callable[[int], Shares],
        gallery_shares: Callable[[int], Shares],
        *,
        n: int = 20,
        weight: float = 1.0,
    ) -> None:
        self.query_shares, self.gallery_shares = query_shares, gallery_shares
        self.n, self.weight = at_least_one(n, "n"), not_negative(weight, "weight")

    def __call__(self, ranking: Ranking) -> Ranking:
        """The ranking by the mixed score."""
        return self._rank(ranking, list(range(len(ranking.queries))))

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Ranks and scores before and after; no influences."""
        single = one_query(before, query_index)
        nothing = torch.empty(0)
        return move_of(self.name, single, self._rank(single, [query_index]), row, nothing, nothing)

    def _rank(self, ranking: Ranking, query_indices: list[int]) -> Ranking:
        scores = ranking.scores.clone()
        for i, query_index in enumerate(query_indices):
            query = self.query_shares(query_index)
            for place, row in enumerate(ranking.indices[i, : self.n].tolist()):
                scores[i, place] += self.weight * matched_similarity(query, self.gallery_shares(row))
        return reordered(ranking, scores, ranking.queries, ranking.gallery)


def matched_similarity(query: Shares, match: Shares) -> float:
    """The part of the cosine that mutual best matches hold; never negative."""
    cosines: Tensor = cosine_similarity(query.values, match.values)
    pairs = mutual_best_matches(cosines)
    parts = affinity(query.values, match.values, query.total.norm(), match.total.norm())
    return float(parts[pairs[:, 0], pairs[:, 1]].sum())
