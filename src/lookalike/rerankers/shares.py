"""Re-ranking by cells: how well those agree that prefer each other to all others."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch import Tensor

from lookalike.ops.attribution import mutual_best_matches
from lookalike.ops.similarity import cosine_similarity
from lookalike.rerankers.base import move_of, one_query, reordered
from lookalike.rerankers.options import at_least_one, not_negative
from lookalike.types import Move, Ranking, Shares


@final
class SharesReranking:
    """Method ``shares``: cosine plus ``weight`` times the agreement of mutual best matches.

    Two cells match where each is the other's most alike by cosine of their shares. Two pictures
    with the same parts then come before two with the same general look. Only the first ``n`` of
    each shortlist are looked at, as each costs its shares; agreement is never negative, so the rest
    keep their cosines and their order behind them. No gallery item lifts another here, so a move
    has no influences: ``place_matches`` shows the cells instead.
    """

    name = "shares"

    def __init__(
        self,
        query_shares: Callable[[int], Shares],
        gallery_shares: Callable[[int], Shares],
        *,
        n: int = 20,
        weight: float = 4.0,
    ) -> None:
        if not (callable(query_shares) and callable(gallery_shares)):
            raise ValueError("query_shares and gallery_shares are functions from an index to Shares")
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
            for cell, row in enumerate(ranking.indices[i, : self.n].tolist()):
                scores[i, cell] += self.weight * matched_similarity(query, self.gallery_shares(row))
        return reordered(ranking, scores, ranking.queries, ranking.gallery)


def matched_similarity(query: Shares, match: Shares) -> float:
    """Sum of cubed cosines of the mutual best matches, over the number of query cells; in [0, 1].

    Cubed, so that few true counterparts count for more than many vague ones; with cosines and not
    contributions, which differ too little between candidates to change an order.
    """
    cosines: Tensor = cosine_similarity(query.values, match.values)
    pairs = mutual_best_matches(cosines)
    return float(cosines[pairs[:, 0], pairs[:, 1]].pow(3).sum() / len(cosines))
