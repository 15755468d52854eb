"""Re-ranking by the distance that an AVSL model's graph infers (Zhang et al., CVPR 2022)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import final

import torch

from lookalike.errors import UnreadableImageError
from lookalike.ops.avsl import Graph, Nodes, all_pairs
from lookalike.rerankers.base import first_then_rest, move_of, one_query, reordered
from lookalike.rerankers.options import at_least_one
from lookalike.types import Move, Ranking


@final
class AvslReranking:
    """Method ``avsl``: one minus half the inferred distance, for the first ``n`` of each shortlist.

    The nodes of those n are computed once and cached. The rest follow by cosine, lowered if needed so
    that none comes before the n; so do those whose images can't be read. Scores do not depend on other
    gallery items, so a move has no influences; ``explain`` with method ``avsl`` shows nodes and cells
    instead.
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
        self._of_row: dict[int, Nodes | None] = {}  # None: its image can't be read

    def __call__(self, ranking: Ranking) -> Ranking:
        """Return the ranking by the inferred distance."""
        return self._rank(ranking, list(range(len(ranking.queries))))

    def explain(self, before: Ranking, query_index: int, row: int) -> Move:
        """Return ranks and scores before and after, without influences."""
        single = one_query(before, query_index)
        nothing = torch.empty(0)
        return move_of(self.name, single, self._rank(single, [query_index]), row, nothing, nothing)

    def _rank(self, ranking: Ranking, query_indices: list[int]) -> Ranking:
        indices, scores = ranking.indices.clone(), ranking.scores.clone()
        for i, query_index in enumerate(query_indices):
            if query_index not in self._of_query:
                self._of_query[query_index] = self._query_nodes(query_index)
            found = self._nodes(indices[i, : self.n].tolist())
            candidates = [nodes for nodes in found if nodes is not None]
            if not candidates:
                continue
            order = sorted(range(len(scores[i])), key=lambda j: j >= len(found) or found[j] is None)
            distances = all_pairs(self._of_query[query_index], Nodes.joined(candidates), graph=self.graph)[0]
            indices[i], scores[i] = indices[i, order], scores[i, order]
            scores[i] = first_then_rest(scores[i], 1 - distances.to(scores) / 2)
        return reordered(replace(ranking, indices=indices), scores, ranking.queries, ranking.gallery)

    def _nodes(self, rows: list[int]) -> list[Nodes | None]:
        missing = [row for row in dict.fromkeys(rows) if row not in self._of_row]
        self._of_row.update(zip(missing, self._read(missing), strict=True))
        return [self._of_row[row] for row in rows]

    def _read(self, rows: list[int]) -> list[Nodes | None]:
        """The nodes of each row; all at once, and only if one can't be read, one after the other."""
        if not rows:
            return []
        try:
            found = self._gallery_nodes(rows)
        except UnreadableImageError:
            return [None] if len(rows) == 1 else [self._read([row])[0] for row in rows]
        return [found.rows(slice(i, i + 1)) for i in range(len(rows))]
