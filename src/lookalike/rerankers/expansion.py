"""Re-ranking by expansion: of the query by its first results, of each candidate by its neighbors."""

from __future__ import annotations

from typing import final

import torch

from lookalike.ops.reranking import augment_database, expand, expand_without_each, other_neighbors
from lookalike.rerankers.base import move_of, one_query, rank_of, reordered
from lookalike.rerankers.options import at_least_one, not_negative
from lookalike.types import Move, Ranking


@final
class QueryExpansion:
    """Method ``aqe``: each query becomes its alpha-weighted sum with its n best results.

    An influence is one of those n; its amount is the item's cosine with the new query, counted from
    the shortlist's mean, less what it would be without that one. An item among the n influences
    itself too.
    """

    name = "aqe"

    def __init__(self, *, n: int = 2, alpha: float = 3.0) -> None:
        self.n, self.alpha = at_least_one(n, "n"), not_negative(alpha, "alpha")

    def __call__(self, ranking: Ranking) -> Ranking:
        """The ranking by cosine with the expanded queries, which take the queries' place."""
        neighbors = ranking.gallery[ranking.indices[:, : self.n]]  # (Q, n, D)
        queries = expand(ranking.queries, neighbors, self.alpha)
        return by_cosine(ranking, queries, ranking.gallery)

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Which of the query's best results lifted or sank a row."""
        single = one_query(before, query_index)
        after = self(single)
        rows = single.indices[0, : self.n]
        without = expand_without_each(single.queries[0], single.gallery[rows], self.alpha)  # (n, D)
        candidates = single.gallery[single.indices[0]]  # (K, D)
        changes = candidates @ (after.queries - without).T  # (K, n)
        amounts = changes[rank_of(single, row)] - changes.mean(0)
        return move_of(self.name, single, after, row, rows, amounts)


@final
class DatabaseAugmentation:
    """Method ``dba``: each candidate becomes its alpha-weighted sum with its n nearest items.

    Neighbors are sought in the whole gallery, exactly. An influence is one of the n; its amount is
    the candidate's new cosine less what it would be without that one.
    """

    name = "dba"

    def __init__(self, *, n: int = 5, alpha: float = 3.0) -> None:
        self.n, self.alpha = at_least_one(n, "n"), not_negative(alpha, "alpha")

    def __call__(self, ranking: Ranking) -> Ranking:
        """The ranking by cosine with the augmented gallery.

        Rows in no shortlist keep their embedding: they can't come up here or in a later step.
        """
        rows = torch.unique(ranking.indices)
        gallery = ranking.gallery.clone()
        gallery[rows] = augment_database(ranking.gallery, rows, self.n, self.alpha)
        return by_cosine(ranking, ranking.queries, gallery)

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Which neighbors of a row lifted or sank it."""
        single = one_query(before, query_index)
        rank_of(single, row)
        after = self(single)
        rows = other_neighbors(single.gallery, torch.tensor([row], device=single.indices.device), self.n)[0]
        without = expand_without_each(single.gallery[row], single.gallery[rows], self.alpha)  # (n, D)
        amounts = (after.gallery[row] - without) @ single.queries[0]
        return move_of(self.name, single, after, row, rows, amounts)


def by_cosine(ranking: Ranking, queries: torch.Tensor, gallery: torch.Tensor) -> Ranking:
    """The ranking by cosine with new unit queries or a new gallery of unit rows."""
    scores = torch.empty_like(ranking.scores)
    for i, (query, rows) in enumerate(zip(queries, ranking.indices, strict=True)):
        scores[i] = gallery[rows] @ query
    return reordered(ranking, scores, queries, gallery)
