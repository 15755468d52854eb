"""Re-ranking by a transformer over the whole shortlist: CSA (Ouyang et al., NeurIPS 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch
from torch import Tensor

from lookalike.models.csa.checkpoint import bundled_scorer, load_scorer
from lookalike.models.csa.inference import refined_features
from lookalike.models.csa.shortlist import ShortlistScorer
from lookalike.rerankers.base import column_of, move_of, one_query, reordered
from lookalike.rerankers.first_stage import following_rows
from lookalike.rerankers.options import at_least_one
from lookalike.types import Move, Ranking

ITEMS_AT_ONCE = 4096  # items per batch of queries, so that activations fit a CPU's caches
DECIMALS = 6  # scores are rounded, so that equal items keep their order in batches of any size
_PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@final
class ContextualReranking:
    """Method ``csa``: a transformer over the affinities of all items of a shortlist.

    An item's affinity is the vector of its cosines with the anchors, which are the query and its best
    results in the whole ranking, also where the shortlist is shorter; where the gallery has too few they
    are zero. Without ``checkpoint`` the network is the bundled
    ``csa-mini``, which works on any embedding; a published checkpoint is run as published. Memory grows
    with (1 + K) squared per query of a batch. ``precision`` bf16 is faster on CPUs that support it and
    may swap items with nearly equal scores.

    Influences are computed for the ``n_explained`` items that candidate and query attend to most and
    whose affinity with the candidate stands out; the amount is the candidate's score less its score
    without that item on the list, relative to the list's mean change. Raises ValueError for options out
    of range and CheckpointError for a file of another layout.
    """

    name = "csa"

    def __init__(
        self,
        *,
        checkpoint: str | Path | None = None,
        heads: int | None = None,
        precision: str = "fp32",
        n_explained: int = 16,
    ) -> None:
        if precision not in _PRECISIONS:
            raise ValueError(f"precision must be one of {', '.join(_PRECISIONS)}, got {precision!r}")
        self._scorer: ShortlistScorer
        if checkpoint is None:
            self._scorer = bundled_scorer()
        else:
            heads = None if heads is None else at_least_one(heads, "heads")
            self._scorer = load_scorer(Path(checkpoint), heads=heads)
        self.precision = precision
        self.n_explained = at_least_one(n_explained, "n_explained")

    @property
    def n_context(self) -> int:
        """Number of first results that the network looks at, even if fewer are re-ranked."""
        return self._scorer.n_context

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by the network's scores."""
        following = self._following(ranking)
        n_queries, k = ranking.indices.shape
        step = max(1, ITEMS_AT_ONCE // (1 + max(k, self.n_context)))
        scores = [
            self._scores(
                ranking.queries[i : i + step],
                ranking.gallery[ranking.indices[i : i + step]],
                ranking.gallery[following[i : i + step]],
            )
            for i in range(0, n_queries, step)
        ]
        return reordered(ranking, torch.cat(scores), ranking.queries, ranking.gallery)

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row, with the influences of other items of the shortlist."""
        single = one_query(before, query_index)
        position = column_of(single, row)
        candidates = single.gallery[single.indices]  # (1, K, D)
        following = single.gallery[self._following(single)]  # (1, M, D)
        others = self._most_relevant(single.queries, candidates, following, position)
        scores = self._scores(single.queries, candidates, following)[0]
        amounts = torch.tensor(
            [
                self._amount(single.queries, candidates, following, scores, position, int(other))
                for other in others
            ]
        )
        return move_of(self.name, single, self(single), row, single.indices[0, others], amounts)

    def _following(self, ranking: Ranking) -> Tensor:
        """Rows (Q, M) of the context that the shortlists leave out."""
        return following_rows(ranking, self.n_context - ranking.indices.shape[1])

    def _amount(
        self,
        query: Tensor,
        candidates: Tensor,
        following: Tensor,
        scores: Tensor,
        position: int,
        other: int,
    ) -> float:
        """The effect of an item's presence on another's score, less its mean effect on the rest."""
        rest = torch.arange(candidates.shape[1], device=candidates.device) != other
        changes = scores[rest] - self._scores(query, candidates[:, rest], following)[0]
        return float(changes[position - (other < position)] - changes.mean())

    @torch.inference_mode()
    def _most_relevant(self, query: Tensor, candidates: Tensor, following: Tensor, position: int) -> Tensor:
        """Positions of the items most likely to influence a candidate.

        Ranked by the attention of candidate and query to the item, times the deviation of the item's
        cosine with the candidate from the mean cosine.
        """
        scorer = self._on(query)
        attention = scorer.network.attention_of(scorer.inputs(query, candidates, following))[0]
        n_items = 1 + candidates.shape[1]
        attention = attention[:, :n_items]  # influences of what follows the list are left out
        items = torch.cat([query[:, None], candidates], dim=1)[0]
        cosines = items @ items[1 + position]
        weights = (attention[0] + attention[1 + position]) * (cosines - cosines.mean()).abs()
        weights[[0, 1 + position]] = -1  # leaves out the query and the candidate itself
        n = min(self.n_explained, len(weights) - 2)
        return weights.topk(n).indices - 1

    @torch.inference_mode()
    def _scores(self, queries: Tensor, candidates: Tensor, following: Tensor) -> Tensor:
        """Scores (Q, K) of candidates (Q, K, D), which ``following`` (Q, M, D) come after."""
        scorer = self._on(queries)
        inputs = scorer.inputs(queries, candidates, following)
        if self.precision != "fp32":
            with torch.autocast(queries.device.type, dtype=_PRECISIONS[self.precision]):
                tokens = scorer.network(inputs)
        else:
            tokens = refined_features(scorer.network, inputs)
        return scorer.scores(inputs, tokens.float())[:, : candidates.shape[1]].round(decimals=DECIMALS)

    def _on(self, vectors: Tensor) -> ShortlistScorer:
        """The scorer on the vectors' device."""
        return self._scorer.to(vectors.device)
