"""Re-ranking by diffusion over the shortlist's graph of mutual neighbors."""

from __future__ import annotations

from typing import final

from torch import Tensor

from lookalike.ops.reranking import diffuse, diffusion_graph, diffusion_removals, query_seeds
from lookalike.rerankers.base import column_of, move_of, one_query, score_each
from lookalike.rerankers.options import at_least_one, fraction, not_negative
from lookalike.types import Move, Ranking


@final
class Diffusion:
    """Method ``diffusion``: similarity diffused from the ``n_seeds`` best over mutual neighbors.

    The kernel is ``max(cosine, 0) ** power`` between mutual n-nearest neighbors (Iscen et al., CVPR
    2017). Items not connected to a seed score zero and keep their order, at the end. The amount of an
    influence is the flow to the candidate that passes through the other item, relative to the
    shortlist's mean. Raises ValueError for options out of range.
    """

    name = "diffusion"

    def __init__(self, *, n: int = 20, n_seeds: int = 5, power: float = 3.0, alpha: float = 0.8) -> None:
        self.n, self.n_seeds = at_least_one(n, "n"), at_least_one(n_seeds, "n_seeds")
        self.power = not_negative(power, "power")
        self.alpha = fraction(alpha, "alpha")
        if alpha == 1:
            raise ValueError("alpha must be below 1, got 1; the diffusion would not converge")

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by the diffused similarity."""
        return score_each(ranking, lambda q, c: diffuse(*self._graph(q, c), alpha=self.alpha))

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return the move of a row, with the influences of items that the flow passes through."""
        single = one_query(before, query_index)
        position = column_of(single, row)
        graph, seeds = self._graph(single.queries[0], single.gallery[single.indices[0]])
        removals = diffusion_removals(graph, seeds, alpha=self.alpha)  # (K, K)
        amounts = removals[position] - removals.mean(0)
        amounts[position] = 0  # an item has no influence on itself
        return move_of(self.name, single, self(single), row, single.indices[0], amounts)

    def _graph(self, query: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
        graph = diffusion_graph(candidates, n=self.n, power=self.power)
        return graph, query_seeds(candidates @ query, n=self.n_seeds, power=self.power)
