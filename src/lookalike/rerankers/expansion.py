"""Re-ranking by expansion of the query (alpha query expansion) or of the candidates (augmentation)."""

from __future__ import annotations

from typing import final

import torch

from lookalike.ops.reranking import augment_database, expand, expand_without_each, other_neighbors
from lookalike.rerankers.base import column_of, move_of, one_query, reordered
from lookalike.rerankers.options import at_least_one, not_negative
from lookalike.types import Move, Ranking


@final
class QueryExpansion:
    """Method ``aqe``: each query is replaced by its alpha-weighted sum with its ``n`` best results.

    Radenović et al., "Fine-tuning CNN image retrieval with no human annotation", TPAMI 2019. The amount
    of an influence of one of those n is the candidate's cosine with the new query, relative to the
    shortlist's mean, less the same without that result. A candidate among the n influences itself too.
    Raises ValueError for options out of range.
    """

    name = "aqe"

    def __init__(self, *, n: int = 2, alpha: float = 3.0) -> None:
        self.n, self.alpha = at_least_one(n, "n"), not_negative(alpha, "alpha")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by cosine with the expanded queries, which replace ``queries``."""
        neighbors = ranking.gallery[ranking.indices[:, : self.n]]  # (Q, n, D)
        queries = expand(ranking.queries, neighbors, self.alpha)
        return by_cosine(ranking, queries, ranking.gallery)

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row, with the influences of the query's best results."""
        single = one_query(before, query_index)
        after = self(single)
        rows = single.indices[0, : self.n]
        without = expand_without_each(single.queries[0], single.gallery[rows], self.alpha)  # (n, D)
        candidates = single.gallery[single.indices[0]]  # (K, D)
        changes = candidates @ (after.queries - without).T  # (K, n)
        amounts = changes[column_of(single, row)] - changes.mean(0)
        return move_of(self.name, single, after, row, rows, amounts)


@final
class DatabaseAugmentation:
    """Method ``dba``: each candidate is replaced by its alpha-weighted sum with its ``n`` nearest items.

    Neighbors are searched exactly in the whole gallery. The amount of an influence of one of the n is
    the candidate's new cosine less its cosine without that neighbor. Raises ValueError for options out
    of range.
    """

    name = "dba"

    def __init__(self, *, n: int = 5, alpha: float = 3.0) -> None:
        self.n, self.alpha = at_least_one(n, "n"), not_negative(alpha, "alpha")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by cosine with the augmented gallery, which replaces ``gallery``.

        Rows on no shortlist keep their embedding: no later step can rank them.
        """
        rows = torch.unique(ranking.indices)
        gallery = ranking.gallery.clone()
        gallery[rows] = augment_database(ranking.gallery, rows, self.n, self.alpha)
        return by_cosine(ranking, ranking.queries, gallery)

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row, with the influences of its neighbors."""
        single = one_query(before, query_index)
        column_of(single, row)
        after = self(single)
        rows = other_neighbors(single.gallery, torch.tensor([row], device=single.indices.device), self.n)[0]
        without = expand_without_each(single.gallery[row], single.gallery[rows], self.alpha)  # (n, D)
        amounts = (after.gallery[row] - without) @ single.queries[0]
        return move_of(self.name, single, after, row, rows, amounts)


def by_cosine(ranking: Ranking, queries: torch.Tensor, gallery: torch.Tensor) -> Ranking:
    """Return the ranking by cosine with new queries (Q, D) and a new gallery (G, D) of unit rows."""
    scores = torch.empty_like(ranking.scores)
    for i, (query, rows) in enumerate(zip(queries, ranking.indices, strict=True)):
        scores[i] = gallery[rows] @ query
    return reordered(ranking, scores, queries, gallery)
