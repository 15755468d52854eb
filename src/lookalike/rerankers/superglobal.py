"""Re-ranking by refined embeddings of the shortlist and of the query: SuperGlobal (ICCV 2023)."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor

from lookalike.ops.reranking import superglobal_scores, superglobal_terms
from lookalike.rerankers.base import column_of, first_then_rest, move_of, one_query, reordered
from lookalike.rerankers.options import at_least_one, not_negative
from lookalike.types import Move, Ranking


@final
class SuperGlobal:
    """Method ``superglobal``: both query and candidates refined by their neighbors on the shortlist.

    Shao et al., "Global Features are All You Need for Image Retrieval and Reranking", ICCV 2023, with
    the published defaults. The first ``n_first`` of each shortlist take part; the rest follow by cosine,
    lowered if needed so that none comes before them. Memory is n_first x n_first.

    The amounts of a move's influences sum to the candidate's new score: each item adds its part in the
    refined candidate, and the dimensions of the refined query that it holds the maximum of. An item
    therefore influences itself too, and one after the first ``n_first`` has no influences. Raises
    ValueError for options out of range.
    """

    name = "superglobal"

    def __init__(self, *, n: int = 9, beta: float = 0.15, n_first: int = 400) -> None:
        self.n, self.n_first = at_least_one(n, "n"), at_least_one(n_first, "n_first")
        self.beta = not_negative(beta, "beta")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by the mean of the products with the query and with the refined query."""
        scores = ranking.scores.clone()
        for i, query in enumerate(ranking.queries):
            first = superglobal_scores(query, self._first(ranking, i), n=self.n, beta=self.beta)
            scores[i] = first_then_rest(scores[i], first)
        return reordered(ranking, scores, ranking.queries, ranking.gallery)

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row, with influences that sum to its new score."""
        single = one_query(before, query_index)
        position = column_of(single, row)
        rows, amounts = single.indices[0, : self.n_first], torch.empty(0)
        if position < len(rows):
            amounts = superglobal_terms(
                single.queries[0], self._first(single, 0), position, n=self.n, beta=self.beta
            )
        return move_of(self.name, single, self(single), row, rows[: len(amounts)], amounts)

    def _first(self, ranking: Ranking, query_index: int) -> Tensor:
        return ranking.gallery[ranking.indices[query_index, : self.n_first]]
