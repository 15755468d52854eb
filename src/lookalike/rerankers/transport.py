"""Re-ranking by votes of cells for their counterparts, after ELViS (Suma et al., ICLR 2026)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from lookalike.ops.transport import transport_votes
from lookalike.rerankers.base import move_of, one_query, reordered
from lookalike.rerankers.cells import SharesOf, check_shares_of, terms_of_first
from lookalike.rerankers.options import at_least_one, fraction, not_negative
from lookalike.types import Move, Ranking

DUSTBIN, SHARPNESS, MIX = 0.6, 20.0, 0.7


@final
class TransportReranking:
    """Method ``transport``: ``1 - mix`` times the cosine plus ``mix`` times the votes of all cells.

    The cells of both images are matched by optimal transport with dustbins (``ops.transport``); each
    votes for its counterpart, and the votes are summed; scores are in [-1, 1]. This is
    ELViS without its learned parts: dustbins have a constant similarity and a vote is the probability.
    Only the first ``n`` of each shortlist are compared, as each needs its shares; the rest keep their
    part of the cosine. Scores do not depend on other gallery items, so a move has no influences;
    explanation method ``transport`` shows the cells, with maps that sum to the score. Raises ValueError
    for options out of range.
    """

    name = "transport"

    def __init__(
        self,
        query_shares: SharesOf,
        gallery_shares: SharesOf,
        *,
        n: int = 20,
        mix: float = MIX,
        dustbin: float = DUSTBIN,
        sharpness: float = SHARPNESS,
    ) -> None:
        check_shares_of(query_shares, gallery_shares)
        self._query_shares, self._gallery_shares = query_shares, gallery_shares
        self.n, self.mix = at_least_one(n, "n"), fraction(mix, "mix")
        self.dustbin, self.sharpness = fraction(dustbin, "dustbin"), not_negative(sharpness, "sharpness")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by cosine and votes."""
        return self._rank(ranking, range(len(ranking.queries)))

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return ranks and scores before and after, without influences."""
        single = one_query(before, query_index)
        nothing = torch.empty(0)
        return move_of(self.name, single, self._rank(single, [query_index]), row, nothing, nothing)

    def _rank(self, ranking: Ranking, query_indices: Sequence[int]) -> Ranking:
        votes = terms_of_first(ranking, query_indices, self.n, self._votes)
        scores = (1 - self.mix) * ranking.scores + self.mix * votes
        return reordered(ranking, scores, ranking.queries, ranking.gallery)

    def _votes(self, query_index: int, row: int) -> float:
        query, match = self._query_shares(query_index), self._gallery_shares(row)
        votes = transport_votes(query.values, match.values, dustbin=self.dustbin, sharpness=self.sharpness)
        return float(votes.sum())
