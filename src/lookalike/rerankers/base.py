"""Protocol of the re-rankers, and the operations on rankings that they share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from lookalike.types import Influence, Move, Ranking


class Reranker(Protocol):
    """Re-orders the items of each query's shortlist; none is added or removed.

    Items with equal scores keep their order.
    """

    @property
    def name(self) -> str:
        """The method's name, as on the command line and in ``Move.method``."""
        ...

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the same rows (Q, K) with new scores, best first; K may be any length."""
        ...

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of one gallery row in one query's shortlist, with the influences on it.

        ``before`` is the ranking that was re-ranked. Raises ValueError for a row that is not in that
        query's shortlist.
        """
        ...


def reordered(ranking: Ranking, scores: Tensor, queries: Tensor, gallery: Tensor) -> Ranking:
    """Return the ranking sorted by new scores (Q, K), given in the order of ``ranking.indices``."""
    sorted_scores, order = scores.sort(dim=1, descending=True, stable=True)
    return replace(
        ranking,
        queries=queries,
        gallery=gallery,
        indices=ranking.indices.gather(1, order),
        scores=sorted_scores,
    )


def score_each(ranking: Ranking, score: Callable[[Tensor, Tensor], Tensor]) -> Ranking:
    """Return the ranking sorted by ``score(query (D,), candidates (K, D)) -> (K,)`` of each query."""
    scores = torch.empty_like(ranking.scores)
    for i, (query, rows) in enumerate(zip(ranking.queries, ranking.indices, strict=True)):
        scores[i] = score(query, ranking.gallery[rows])
    return reordered(ranking, scores, ranking.queries, ranking.gallery)


def first_then_rest(before: Tensor, first: Tensor) -> Tensor:
    """Return scores (K,) that begin with ``first``; the rest of ``before`` follows, lowered if needed.

    The rest keep their order and differences, and none exceeds the lowest of the first.
    """
    rest = before[len(first) :]
    if len(rest):
        lowest = first.min()  # the subtraction may round to more
        rest = (rest - (rest.max() - lowest).clamp(min=0)).clamp(max=lowest)
    return torch.cat([first.to(before), rest])


def one_query(ranking: Ranking, query_index: int) -> Ranking:
    """Return the ranking of one query alone. Raises ValueError for an index out of range."""
    if not 0 <= query_index < len(ranking.queries):
        raise ValueError(f"query_index must be below the {len(ranking.queries)} queries, got {query_index}")
    part = slice(query_index, query_index + 1)
    return replace(
        ranking,
        queries=ranking.queries[part],
        indices=ranking.indices[part],
        scores=ranking.scores[part],
    )


def column_of(ranking: Ranking, row: int) -> int:
    """Return the column of a gallery row in the ranking of a single query: its rank less one.

    Raises ValueError for a row that is not on the shortlist.
    """
    positions = (ranking.indices[0] == row).nonzero()
    if not len(positions):
        raise ValueError(
            f"row {row} is not among the {ranking.indices.shape[1]} of the shortlist; "
            "only those are re-ranked, so use a larger k"
        )
    return int(positions[0, 0])


def move_of(method: str, before: Ranking, after: Ranking, row: int, rows: Tensor, amounts: Tensor) -> Move:
    """Return the move of a row in the ranking of a single query, without influences of exactly zero."""
    column_before, column_after = column_of(before, row), column_of(after, row)
    return Move(
        row=row,
        method=method,
        rank_before=column_before + 1,
        rank_after=column_after + 1,
        score_before=float(before.scores[0, column_before]),
        score_after=float(after.scores[0, column_after]),
        influences=influences_of(rows.tolist(), amounts.tolist()),
    )


def influences_of(rows: list[int], amounts: list[float]) -> tuple[Influence[int], ...]:
    """Return the influences that are not zero, largest magnitude first."""
    found = [Influence(row, amount) for row, amount in zip(rows, amounts, strict=True) if amount != 0]
    return tuple(sorted(found, key=lambda influence: -abs(influence.amount)))
