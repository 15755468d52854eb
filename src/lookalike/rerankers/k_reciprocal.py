"""Re-ranking by k-reciprocal neighbors."""

from __future__ import annotations

from typing import final

import torch

from lookalike.ops.reranking import (
    JointEncoding,
    joint_encoding,
    joint_k_reciprocal_scores,
    k_reciprocal_encoding,
    k_reciprocal_removals,
    k_reciprocal_scores,
    node_distances,
)
from lookalike.rerankers.base import column_of, move_of, one_query, reordered, score_each
from lookalike.rerankers.options import at_least_one, fraction, yes_or_no
from lookalike.types import Move, Ranking


@final
class KReciprocal:
    """Method ``k-reciprocal``: similarity of the sets of mutual neighbors (Zhong et al., CVPR 2017).

    Computed for each query on its own shortlist, so memory is K x K, and what is asked beside a query does
    not change its ranking. With ``joint``, as the authors compute it: all queries of a ranking are joined
    with its whole gallery, and each may be a neighbor of every other; the paper's k1 is 20, its k2 6. The
    score is one minus the published distance. The amount of an influence is the Jaccard part of the score
    less the same without the other item's term: positive if the item is a common neighbor of query and
    candidate, negative if it is a neighbor of only one of them. Of a joint ranking, influences of other
    queries are not listed. Raises ValueError for options out of range.
    """

    name = "k-reciprocal"

    def __init__(self, *, k1: int = 10, k2: int = 3, mix: float = 0.3, joint: bool = False) -> None:
        self.k1, self.k2 = at_least_one(k1, "k1"), at_least_one(k2, "k2")
        self.mix, self.joint = fraction(mix, "mix"), yes_or_no(joint, "joint")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by one minus the final distance."""
        if self.joint:
            scores = joint_k_reciprocal_scores(
                self._joint_encoding(ranking),
                ranking.queries,
                ranking.gallery,
                ranking.indices,
                mix=self.mix,
            )
            return reordered(ranking, scores, ranking.queries, ranking.gallery)
        return score_each(
            ranking, lambda q, c: k_reciprocal_scores(q, c, k1=self.k1, k2=self.k2, mix=self.mix)
        )

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row, with the influences of common and other neighbors."""
        if self.joint:
            return self._explain_joint(before, query_index, row)
        single = one_query(before, query_index)
        position = column_of(single, row)
        distances = node_distances(single.queries[0], single.gallery[single.indices[0]])
        encoding = k_reciprocal_encoding(distances, k1=self.k1, k2=self.k2)
        amounts = (1 - self.mix) * k_reciprocal_removals(encoding, position + 1)[1:]
        amounts[position] = 0  # an item has no influence on itself
        return move_of(self.name, single, self(single), row, single.indices[0], amounts)

    def _explain_joint(self, before: Ranking, query_index: int, row: int) -> Move:
        """As ``explain``, with the influences of all items of the gallery."""
        single, n_queries = one_query(before, query_index), len(before.queries)
        column_of(single, row)  # raises for a row that is not on the shortlist
        encoding = self._joint_encoding(before)
        pair = torch.stack([encoding.row(query_index), encoding.row(n_queries + row)])
        amounts = (1 - self.mix) * k_reciprocal_removals(pair, 1)[n_queries:]
        amounts[row] = 0  # an item has no influence on itself
        after = one_query(self(before), query_index)
        return move_of(self.name, single, after, row, torch.arange(len(amounts)), amounts)

    def _joint_encoding(self, ranking: Ranking) -> JointEncoding:
        nodes = torch.cat([ranking.queries, ranking.gallery])
        return joint_encoding(nodes, k1=self.k1, k2=self.k2)
