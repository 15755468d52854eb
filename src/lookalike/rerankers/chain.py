"""Several re-rankers applied in sequence."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from typing import final

from lookalike.rerankers.base import Reranker, influences_of
from lookalike.types import Move, Ranking


@final
class Chain:
    """Applies re-rankers in sequence; its name is of the form ``dba+aqe``.

    The amount of an influence is the sum over all steps, each in units of that step's score. Raises
    ValueError without steps.
    """

    def __init__(self, steps: Sequence[Reranker]) -> None:
        if not steps:
            raise ValueError("a chain needs at least one re-ranker, got none")
        self.steps = tuple(steps)

    @property
    def name(self) -> str:
        """The steps' names, joined by a plus sign."""
        return "+".join(step.name for step in self.steps)

    @property
    def n_context(self) -> int:
        """Number of first results that some step looks at, even if fewer are re-ranked."""
        return max(int(getattr(step, "n_context", 0)) for step in self.steps)

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking of the last step."""
        for step in self.steps:
            ranking = step(ranking)
        return ranking

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row through all steps, with the influences of every step.

        All queries of ``before`` are re-ranked; to save time, pass a ranking of one query.
        """
        moves: list[Move] = []
        amounts: defaultdict[int, float] = defaultdict(float)
        for step in self.steps:
            moves.append(step.explain(before, query_index, row))
            for influence in moves[-1].influences:
                amounts[influence.item] += influence.amount
            before = step(before)
        return replace(
            moves[-1],
            method=self.name,
            rank_before=moves[0].rank_before,
            score_before=moves[0].score_before,
            influences=influences_of(list(amounts), list(amounts.values())),
        )
