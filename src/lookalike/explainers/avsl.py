"""Explanation of an AVSL model's distance by the levels, nodes and cells that contribute to it.

Zhang et al., *Attributable Visual Similarity Learning*, CVPR 2022. Traced back through the graph
(``ops.avsl``), the inferred distance is an exact sum over nodes, each counted directly and through
the nodes above it, and each node's term is an exact sum over cells.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.base import image_map, read_whole
from lookalike.models.avsl import AvslModel, NodeShares
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.ops import avsl as ops
from lookalike.ops.regrid import regrid
from lookalike.types import GraphExplanation, ImageMap, LevelReason, NodePath, NodeReason, Reading


@final
class Avsl:
    """Method ``avsl``: attribution of what both images have in common, on the finest level's grid.

    ``n_nodes`` per level are listed as ``together`` and as ``apart``. Raises UnsupportedMethodError for
    a model without a graph of nodes or with a power other than 2, ValueError for ``n_nodes`` below 1.
    """

    name = "avsl"
    promise = "sums to the similarity; needs an AVSL model"

    def __init__(self, embedder: Embedder, *, n_nodes: int = 5) -> None:
        if n_nodes < 1:
            raise ValueError(f"n_nodes must be 1 or more, got {n_nodes}")
        self.model, self.n_nodes = AvslModel(embedder), n_nodes
        if self.model.graph.power != 2:
            raise UnsupportedMethodError(
                "method 'avsl' is defined for p = 2, and this model has p = "
                f"{self.model.graph.power:g}; use method 'shares'"
            )

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> GraphExplanation:
        """Return the explanation of two images, from one forward pass each."""
        readings = read_whole(query, self.model.embedder), read_whole(match, self.model.embedder)
        a, b = (self.model.shares(reading) for reading in readings)
        pair = _Pair(readings, (a, b), self.model.graph_on_cpu)
        return GraphExplanation(
            similarity=1 - pair.distance / 2,
            query=_summed(readings[0], pair.common_maps(0), a.grids),
            match=_summed(readings[1], pair.common_maps(1), b.grids),
            method=self.name,
            additive=True,
            model=self.model.embedder.name,
            distance=pair.distance,
            levels=tuple(pair.level(i, self.n_nodes) for i in range(len(a.grids))),
        )


class _Pair:
    """The nodes of two images and their contributions to the distance, in float64."""

    def __init__(
        self, readings: Sequence[Reading], sides: tuple[NodeShares, NodeShares], graph: ops.Graph
    ) -> None:
        self._readings, self._sides = readings, sides
        self._graph = ops.Graph(
            tuple(link.double() for link in graph.links),
            tuple(c.double() for c in graph.coefficients),
            tuple(b.double() for b in graph.biases),
            graph.sharpness,
            graph.power,
        )
        self._nodes = ops.distance_shares(_exact(sides[0]), _exact(sides[1]), self._graph)
        self.distance = float(self._nodes.distance)

    def common_maps(self, side: int) -> list[Tensor]:
        """One image's attribution of what both have in common, (N,) for each level."""
        weights = self._nodes.weights
        return [
            self._cells(side, level) @ (weights[level] * self._nodes.units[level][1 - side])
            for level in range(len(weights))
        ]

    def level(self, level: int, n_nodes: int) -> LevelReason:
        """One level's contribution to the distance, with its top nodes of either kind."""
        shares = self._nodes.of_level(level)
        a, b = self._nodes.units[level]
        common = self._nodes.weights[level] * a * b
        n_nodes = min(n_nodes, len(shares))
        return LevelReason(
            share=float(shares.sum()),
            query=self._distance_map(0, level),
            match=self._distance_map(1, level),
            together=tuple(self._node(level, i, common) for i in common.topk(n_nodes).indices.tolist()),
            apart=tuple(self._node(level, i, common) for i in shares.topk(n_nodes).indices.tolist()),
        )

    def _node(self, level: int, node: int, common: Tensor) -> NodeReason:
        parents = ops.strongest_parents(self._nodes, self._graph, level, node)
        return NodeReason(
            level=level,
            node=node,
            weight=float(self._nodes.weights[level][node]),
            share=float(self._nodes.of_level(level)[node]),
            common=float(common[node]),
            query=self._map(0, level, self._cells(0, level)[:, node]),
            match=self._map(1, level, self._cells(1, level)[:, node]),
            paths=tuple(
                NodePath(*path) for path in zip(parents.nodes.tolist(), parents.amounts.tolist(), strict=True)
            ),
        )

    def _distance_map(self, side: int, level: int) -> ImageMap:
        other = self._nodes.units[level][1 - side]
        values = ops.distance_map(self._cells(side, level), other, self._nodes.weights[level])
        return self._map(side, level, values)

    def _map(self, side: int, level: int, values: Tensor) -> ImageMap:
        return image_map(self._readings[side], values, self._sides[side].grids[level])

    def _cells(self, side: int, level: int) -> Tensor:
        """Each cell's contribution to the unit nodes: (N, D)."""
        shares = self._sides[side].shares[level]
        norm: Tensor = shares.sum(0).norm()
        return shares / norm.clamp(min=1e-12)


def _exact(image: NodeShares) -> ops.Nodes:
    """The nodes as the sums of their shares, in float64."""
    embeddings = tuple(shares.sum(0)[None] for shares in image.shares)
    return ops.Nodes(embeddings, tuple(c.double() for c in image.nodes.certainties))


def _summed(reading: Reading, maps: list[Tensor], grids: tuple[tuple[int, int], ...]) -> ImageMap:
    """The sum of maps of several grids, resampled to the first and finest; totals are preserved."""
    target = grids[0]
    on_target = [regrid(m[:, None], grid, target)[:, 0] for m, grid in zip(maps, grids, strict=True)]
    return image_map(reading, torch.stack(on_target).sum(0), target)
