"""Re-ranking by a network that looks at a whole shortlist: CSA (Ouyang et al., NeurIPS 2021)."""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch
from torch import Tensor

from lookalike.models.csa.checkpoint import bundled_scorer, load_scorer
from lookalike.models.csa.shortlist import ShortlistScorer
from lookalike.rerankers.base import move_of, one_query, rank_of, reordered
from lookalike.rerankers.options import at_least_one
from lookalike.types import Move, Ranking

ITEMS_AT_ONCE = 4096  # queries are batched up to so many items: what fits a processor's caches
DECIMALS = 6  # of a score: equal items keep their order, whatever a batch does to the last bit
PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}


@final
class ContextualReranking:
    """Method ``csa``: a transformer sees each item's cosines with the same anchors, and all at once.

    Without ``checkpoint`` it is the bundled ``csa-mini``, which works on any embedding; a published
    checkpoint is run as published. Anchors are the query and its best results; a shortlist with fewer
    than the network was trained with leaves the others zero. Memory is 1 + K squared for each query at
    once. ``precision`` bf16 is faster where the processor has it, and changes close calls.

    An influence is one of the ``n_explained`` items that the candidate and the query attend to and that
    tell them apart; its amount is the candidate's score less what it would be without that item in the
    list, counted from the list's mean.
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
        if precision not in PRECISIONS:
            raise ValueError(f"precision is one of {', '.join(PRECISIONS)}, got {precision!r}")
        self._scorer: ShortlistScorer
        if checkpoint is None:
            self._scorer = bundled_scorer()
        else:
            heads = None if heads is None else at_least_one(heads, "heads")
            self._scorer = load_scorer(Path(checkpoint), heads=heads)
        self.precision = precision
        self.n_explained = at_least_one(n_explained, "n_explained")

    def __call__(self, ranking: Ranking) -> Ranking:
        """The ranking by the network's scores."""
        n_queries, k = ranking.indices.shape
        step = max(1, ITEMS_AT_ONCE // (1 + k))
        scores = [
            self._scores(ranking.queries[i : i + step], ranking.gallery[ranking.indices[i : i + step]])
            for i in range(0, n_queries, step)
        ]
        return reordered(ranking, torch.cat(scores), ranking.queries, ranking.gallery)

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Which items of the shortlist lifted or sank a row."""
        single = one_query(before, query_index)
        position = rank_of(single, row)
        candidates = single.gallery[single.indices[0]]  # (K, D)
        others = self._telling(single.queries, candidates[None], position)
        scores = self._scores(single.queries, candidates[None])[0]
        amounts = torch.tensor(
            [self._lift(single.queries, candidates, scores, position, int(other)) for other in others]
        )
        return move_of(self.name, single, self(single), row, single.indices[0, others], amounts)

    def _lift(self, query: Tensor, candidates: Tensor, scores: Tensor, position: int, other: int) -> float:
        """What the presence of one item does to another's score, against what it does to the rest's."""
        rest = torch.arange(len(candidates), device=candidates.device) != other
        changes = scores[rest] - self._scores(query, candidates[None, rest])[0]
        return float(changes[position - (other < position)] - changes.mean())

    @torch.inference_mode()
    def _telling(self, query: Tensor, candidates: Tensor, position: int) -> Tensor:
        """Cells of the other items that most likely moved this one.

        Attention of candidate and query together times how far the item's affinity with the candidate
        is from its mean affinity.
        """
        scorer = self._on(query)
        inputs = scorer.inputs(query, candidates)
        attention = scorer.network.attention_of(inputs)[0]  # (1 + K, 1 + K)
        items = torch.cat([query[:, None], candidates], dim=1)[0]
        affinity = items @ items[1 + position]
        weights = (attention[0] + attention[1 + position]) * (affinity - affinity.mean()).abs()
        weights[[0, 1 + position]] = -1  # the query and the item itself are no neighbors
        n = min(self.n_explained, len(weights) - 2)
        return weights.topk(n).indices - 1

    @torch.inference_mode()
    def _scores(self, queries: Tensor, candidates: Tensor) -> Tensor:
        """Scores (Q, K) of candidates (Q, K, D)."""
        scorer = self._on(queries)
        if self.precision == "fp32":
            scores: Tensor = scorer(queries, candidates)
            return scores.round(decimals=DECIMALS)
        inputs = scorer.inputs(queries, candidates)
        with torch.autocast(queries.device.type, dtype=PRECISIONS[self.precision]):
            tokens = scorer.network(inputs)
        return scorer.scores(inputs, tokens.float()).round(decimals=DECIMALS)

    def _on(self, vectors: Tensor) -> ShortlistScorer:
        """The scorer on the vectors' device."""
        return self._scorer.to(vectors.device)
