"""Re-ranking by the cosines of mutually best matching cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lookalike.ops.attribution import mutual_best_matches
from lookalike.ops.similarity import cosine_similarity
from lookalike.rerankers.base import move_of, one_query, reordered
from lookalike.rerankers.cells import SharesOf, check_shares_of, terms_of_first
from lookalike.rerankers.options import at_least_one, not_negative
from lookalike.types import Move, Ranking, Shares


@final
class SharesReranking:
    """Method ``shares``: cosine plus ``weight`` times ``matched_similarity`` of the cells.

    This ranks images with the same details above images of the same general appearance. Only the first
    ``n`` of each shortlist are compared, as each needs its shares; the added term is never negative, so
    the rest keep their cosines and follow. Scores do not depend on other gallery items, so a move has
    no influences; ``place_matches`` shows the cells instead. Raises ValueError for options out of range.
    """

    name = "shares"

    def __init__(
        self,
        query_shares: SharesOf,
        gallery_shares: SharesOf,
        *,
        n: int = 20,
        weight: float = 4.0,
    ) -> None:
        check_shares_of(query_shares, gallery_shares)
        self.query_shares, self.gallery_shares = query_shares, gallery_shares
        self.n, self.weight = at_least_one(n, "n"), not_negative(weight, "weight")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by the combined score."""
        return self._rank(ranking, range(len(ranking.queries)))

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return ranks and scores before and after, without influences."""
        single = one_query(before, query_index)
        nothing = torch.empty(0)
        return move_of(self.name, single, self._rank(single, [query_index]), row, nothing, nothing)

    def _rank(self, ranking: Ranking, query_indices: Sequence[int]) -> Ranking:
        matched = terms_of_first(ranking, query_indices, self.n, self._matched)
        return reordered(ranking, ranking.scores + self.weight * matched, ranking.queries, ranking.gallery)

    def _matched(self, query_index: int, row: int) -> float:
        return matched_similarity(self.query_shares(query_index), self.gallery_shares(row))


def matched_similarity(query: Shares, match: Shares) -> float:
    """Return the sum of cubed cosines of the mutual best matches over the number of query cells, in [0, 1].

    Cubing favors a few close matches over many vague ones. Contributions to the similarity, used
    instead of cosines, differ too little between candidates to change an order.
    """
    cosines: Tensor = cosine_similarity(query.values, match.values)
    pairs = mutual_best_matches(cosines)
    return float(cosines[pairs[:, 0], pairs[:, 1]].pow(3).sum() / len(cosines))
