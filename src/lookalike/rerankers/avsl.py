"""Re-ranking by the distance that an AVSL model's graph infers (Zhang et al., CVPR 2022)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import Tensor

from lookalike.errors import UnreadableImageError
from lookalike.ops.avsl import Graph, Nodes, all_pairs
from lookalike.rerankers.base import first_then_rest, move_of, one_query, reordered
from lookalike.rerankers.options import at_least_one
from lookalike.types import Move, Ranking


@final
class AvslReranking:
    """Method ``avsl``: one minus half the inferred distance, for the first ``n`` of each shortlist.

    The nodes of those n are computed once and cached. The rest follow by cosine, lowered if needed so
    that none comes before the n. An image that can't be read has the score 0, as if no node matched, or the
    lowest of the others if that is less. Scores do not depend on other gallery items, so a move has no
    influences; ``explain`` with method ``avsl`` shows nodes and cells instead.
    """

    name = "avsl"

    def __init__(
        self,
        query_nodes: Callable[[int], Nodes],
        gallery_nodes: Callable[[Sequence[int]], Nodes],
        graph: Graph,
        *,
        n: int = 50,
    ) -> None:
        if not (callable(query_nodes) and callable(gallery_nodes) and isinstance(graph, Graph)):
            raise ValueError(
                "query_nodes and gallery_nodes must be functions that return Nodes, and graph a Graph"
            )
        self._query_nodes, self._gallery_nodes, self.graph = query_nodes, gallery_nodes, graph
        self.n = at_least_one(n, "n")
        self._of_query: dict[int, Nodes] = {}
        self._of_row: dict[int, Nodes | None] = {}  # None: can't be read

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by the inferred distance."""
        return self._rank(ranking, list(range(len(ranking.queries))))

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return ranks and scores before and after, without influences."""
        single = one_query(before, query_index)
        nothing = torch.empty(0)
        return move_of(self.name, single, self._rank(single, [query_index]), row, nothing, nothing)

    def _rank(self, ranking: Ranking, query_indices: list[int]) -> Ranking:
        scores = ranking.scores.clone()
        for i, query_index in enumerate(query_indices):
            if query_index not in self._of_query:
                self._of_query[query_index] = self._query_nodes(query_index)
            first = self._scores(self._of_query[query_index], ranking.indices[i, : self.n].tolist())
            scores[i] = first_then_rest(scores[i], first.to(scores))
        return reordered(ranking, scores, ranking.queries, ranking.gallery)

    def _scores(self, query: Nodes, rows: list[int]) -> Tensor:
        """Scores (K,) of K rows of the gallery."""
        self._look_at([row for row in dict.fromkeys(rows) if row not in self._of_row])
        nodes = [self._of_row[row] for row in rows]
        if not (readable := [each for each in nodes if each is not None]):
            return torch.zeros(len(rows))
        found = 1 - all_pairs(query, Nodes.joined(readable), graph=self.graph)[0] / 2
        scores = found.new_full((len(rows),), min(0.0, float(found.min())))
        scores[[i for i, each in enumerate(nodes) if each is not None]] = found
        return scores

    def _look_at(self, rows: list[int]) -> None:
        """Keep the nodes of rows, computed together; one by one only if a file can't be read."""
        if not rows:
            return
        try:
            found = self._gallery_nodes(rows)
            self._of_row.update((row, found.rows(slice(i, i + 1))) for i, row in enumerate(rows))
        except UnreadableImageError:
            for row in rows:
                self._of_row[row] = None
                with contextlib.suppress(UnreadableImageError):
                    self._of_row[row] = self._gallery_nodes([row])
