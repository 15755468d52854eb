"""Re-ranking by the distance that an AVSL model's graph infers (Zhang et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import torch

from lookalike.ops.avsl import Graph, Nodes, all_pairs
from lookalike.rerankers.base import first_then_rest, move_of, one_query, reordered
from lookalike.rerankers.options import at_least_one
from lookalike.types import Move, Ranking


@final
class AvslReranking:
    """Method ``avsl``: one minus half the inferred distance, for the first ``n`` of each shortlist.

    The nodes of those n are computed once and cached. The rest follow by cosine, lowered if needed so
    that none comes before the n. Scores do not depend on other gallery items, so a move has no
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
        self._of_row: dict[int, Nodes] = {}

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
            candidates = self._nodes(ranking.indices[i, : self.n].tolist())
            distances = all_pairs(self._of_query[query_index], candidates, graph=self.graph)[0]
            scores[i] = first_then_rest(scores[i], 1 - distances.to(scores) / 2)
        return reordered(ranking, scores, ranking.queries, ranking.gallery)

    def _nodes(self, rows: list[int]) -> Nodes:
        missing = [row for row in dict.fromkeys(rows) if row not in self._of_row]
        if missing:
            found = self._gallery_nodes(missing)
            self._of_row.update((row, found.rows(slice(i, i + 1))) for i, row in enumerate(missing))
        return Nodes.joined([self._of_row[row] for row in rows])
