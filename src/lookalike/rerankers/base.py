"""What every re-ranker is: a Ranking in, a Ranking out, and for one hit the reason of its move."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor

from lookalike.types import Influence, Move, Ranking


class Reranker(Protocol):
    """Gives the items of each query's shortlist a new order; none is added or lost.

    ``name`` is what messages and ``Move.method`` call it. Equal scores keep the order before.
    """

    @property
    def name(self) -> str:
        """A short word, as on the command line."""
        ...

    def __call__(self, ranking: Ranking) -> Ranking:
        """The same rows with new scores, best first. Shortlists of other lengths are fine."""
        ...

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """How one gallery row of one query's shortlist moved, and which rows lifted or sank it.

        ``before`` is the ranking that the re-ranker was given. Raises ValueError for a row that is
        not in that query's shortlist.
        """
        ...


def reordered(ranking: Ranking, scores: Tensor, queries: Tensor, gallery: Tensor) -> Ranking:
    """The ranking by new scores (Q, K), in the order of ``ranking.indices``."""
    sorted_scores, order = scores.sort(dim=1, descending=True, stable=True)
    return Ranking(queries, gallery, ranking.indices.gather(1, order), sorted_scores)


def score_each(ranking: Ranking, score: Callable[[Tensor, Tensor], Tensor]) -> Ranking:
    """Reordered by ``score(query (D,), candidates (K, D)) -> (K,)``, one query at a time."""
    scores = torch.empty_like(ranking.scores)
    for i, (query, rows) in enumerate(zip(ranking.queries, ranking.indices, strict=True)):
        scores[i] = score(query, ranking.gallery[rows])
    return reordered(ranking, scores, ranking.queries, ranking.gallery)


def one_query(ranking: Ranking, query_index: int) -> Ranking:
    """The ranking of one query alone."""
    if not 0 <= query_index < len(ranking.queries):
        raise ValueError(f"there are {len(ranking.queries)} queries, so there is none of index {query_index}")
    part = slice(query_index, query_index + 1)
    return replace(
        ranking,
        queries=ranking.queries[part],
        indices=ranking.indices[part],
        scores=ranking.scores[part],
    )


def rank_of(ranking: Ranking, row: int) -> int:
    """Position of a gallery row in the ranking of a single query, 0 the first."""
    positions = (ranking.indices[0] == row).nonzero()
    if not len(positions):
        raise ValueError(
            f"row {row} is not among the {ranking.indices.shape[1]} of the shortlist; "
            "only those are re-ranked, take a larger k"
        )
    return int(positions[0, 0])


def move_of(method: str, before: Ranking, after: Ranking, row: int, rows: Tensor, amounts: Tensor) -> Move:
    """The move of a row in the ranking of a single query; influences of exactly zero are left out."""
    rank_before, rank_after = rank_of(before, row), rank_of(after, row)
    return Move(
        row=row,
        method=method,
        rank_before=rank_before,
        rank_after=rank_after,
        score_before=float(before.scores[0, rank_before]),
        score_after=float(after.scores[0, rank_after]),
        influences=influences_of(rows.tolist(), amounts.tolist()),
    )


def influences_of(rows: list[int], amounts: list[float]) -> tuple[Influence[int], ...]:
    """Those that are not zero, the largest amounts first."""
    found = [Influence(row, amount) for row, amount in zip(rows, amounts, strict=True) if amount != 0]
    return tuple(sorted(found, key=lambda influence: -abs(influence.amount)))
