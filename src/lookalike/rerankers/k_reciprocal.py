"""Re-ranking by k-reciprocal neighbors."""

from __future__ import annotations

from typing import final

from lookalike.ops.reranking import (
    k_reciprocal_encoding,
    k_reciprocal_removals,
    k_reciprocal_scores,
    node_distances,
)
from lookalike.rerankers.base import column_of, move_of, one_query, score_each
from lookalike.rerankers.options import at_least_one, fraction
from lookalike.types import Move, Ranking


@final
class KReciprocal:
    """Method ``k-reciprocal``: similarity of the sets of mutual neighbors (Zhong et al., CVPR 2017).

    Computed for each query on its own shortlist, so memory is K x K. The score is one minus the
    published distance. The amount of an influence is the Jaccard part of the score less the same
    without the other item's term: positive if the item is a common neighbor of query and candidate,
    negative if it is a neighbor of only one of them. Raises ValueError for options out of range.
    """

    name = "k-reciprocal"

    def __init__(self, *, k1: int = 10, k2: int = 3, mix: float = 0.3) -> None:
        self.k1, self.k2 = at_least_one(k1, "k1"), at_least_one(k2, "k2")
        self.mix = fraction(mix, "mix")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by one minus the final distance."""
        return score_each(
            ranking, lambda q, c: k_reciprocal_scores(q, c, k1=self.k1, k2=self.k2, mix=self.mix)
        )

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row, with the influences of common and other neighbors."""
        single = one_query(before, query_index)
        position = column_of(single, row)
        distances = node_distances(single.queries[0], single.gallery[single.indices[0]])
        encoding = k_reciprocal_encoding(distances, k1=self.k1, k2=self.k2)
        amounts = (1 - self.mix) * k_reciprocal_removals(encoding, position + 1)[1:]
        amounts[position] = 0  # an item has no influence on itself
        return move_of(self.name, single, self(single), row, single.indices[0], amounts)
