"""Re-ranking by mutual neighbors."""

from __future__ import annotations

from typing import final

from lookalike.ops.reranking import (
    k_reciprocal_encoding,
    k_reciprocal_removals,
    k_reciprocal_scores,
    node_distances,
)
from lookalike.rerankers.base import move_of, one_query, rank_of, score_each
from lookalike.rerankers.options import at_least_one, fraction
from lookalike.types import Move, Ranking


@final
class KReciprocal:
    """Method ``k-reciprocal``: alike are items with the same mutual neighbors (Zhong et al., 2017).

    Computed for each query on its shortlist, so memory is K x K; other queries lend nothing.
    The score is one minus the published distance. An influence is another item of the shortlist;
    its amount is the score's Jaccard part less what it would be without that item's term: positive
    where query and candidate have it as a common neighbor, negative where only one of them has.
    """

    name = "k-reciprocal"

    def __init__(self, *, k1: int = 10, k2: int = 3, mix: float = 0.3) -> None:
        self.k1, self.k2 = at_least_one(k1, "k1"), at_least_one(k2, "k2")
        self.mix = fraction(mix, "mix")

    def __call__(self, ranking: Ranking) -> Ranking:
        """The ranking by one minus the final distance."""
        return score_each(
            ranking, lambda q, c: k_reciprocal_scores(q, c, k1=self.k1, k2=self.k2, mix=self.mix)
        )

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Which common neighbors lifted a row, and which foreign ones sank it."""
        single = one_query(before, query_index)
        position = rank_of(single, row)
        distances = node_distances(single.queries[0], single.gallery[single.indices[0]])
        encoding = k_reciprocal_encoding(distances, k1=self.k1, k2=self.k2)
        amounts = (1 - self.mix) * k_reciprocal_removals(encoding, position + 1)[1:]
        amounts[position] = 0  # an item is no reason for itself
        return move_of(self.name, single, self(single), row, single.indices[0], amounts)
