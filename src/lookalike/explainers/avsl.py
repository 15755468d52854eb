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
from lookalike.types import (
    GraphExplanation,
    ImageMap,
    LevelReason,
    NodeChain,
    NodePath,
    NodeReason,
    Reading,
)


@final
class Avsl:
    """Method ``avsl``: attribution of what both images have in common, on the finest level's grid.

    ``n_nodes`` per level are listed as ``together`` and as ``apart``, and as many of the nodes that the
    graph corrected most; ``n_chains`` chains of linked nodes across the levels are listed of either kind.
    Raises UnsupportedMethodError for a model without a graph of nodes or with a power other than 2,
    ValueError for numbers below 1.
    """

    name = "avsl"
    promise = "sums to the similarity; needs an AVSL model"

    def __init__(self, embedder: Embedder, *, n_nodes: int = 5, n_chains: int = 2) -> None:
        for name, number in (("n_nodes", n_nodes), ("n_chains", n_chains)):
            if number < 1:
                raise ValueError(f"{name} must be 1 or more, got {number}")
        self.model, self.n_nodes, self.n_chains = AvslModel(embedder), n_nodes, n_chains
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
            own_distance=pair.own_distance,
            levels=tuple(pair.level(i, self.n_nodes) for i in range(len(a.grids))),
            together=pair.chains(pair.products, self.n_chains),
            apart=pair.chains(pair.differences, self.n_chains),
            corrected=pair.corrected(self.n_nodes),
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
        self._corrections = ops.corrections(self._nodes, self._graph)
        self.distance = float(self._nodes.distance)
        self.differences = self._nodes.differences
        self.products = tuple(a * b for a, b in self._nodes.units)
        self.own_distance = float(self.differences[-1].sum())

    def common_maps(self, side: int) -> list[Tensor]:
        """One image's attribution of what both have in common, (N,) for each level."""
        return [self._common_map(side, level) for level in range(len(self._nodes.weights))]

    def chains(self, values: Sequence[Tensor], n: int) -> tuple[NodeChain, ...]:
        """The chains that add most to the sum of a quantity of the nodes as the graph infers it."""
        amounts = ops.inferred(self._nodes, self._graph, values)
        strongest = amounts[-1].topk(min(n, len(amounts[-1])))
        return tuple(
            self._chain(node, amount, amounts)
            for node, amount in zip(strongest.indices.tolist(), strongest.values.tolist(), strict=True)
        )

    def corrected(self, n: int) -> tuple[NodeReason, ...]:
        """The n nodes with the largest corrections, of any level but the lowest."""
        every = torch.stack(self._corrections[1:])
        found = every.abs().flatten().topk(min(n, every.numel())).indices.tolist()
        return tuple(self._node(1 + i // every.shape[1], i % every.shape[1]) for i in found)

    def level(self, level: int, n_nodes: int) -> LevelReason:
        """One level's contribution to the distance, with its top nodes of either kind."""
        shares = self._nodes.of_level(level)
        weights, handed_down = self._nodes.weights[level], self._nodes.handed_down[level]
        common = weights * self.products[level]
        n_nodes = min(n_nodes, len(shares))
        query_common, match_common = (
            self._map(side, level, self._common_map(side, level)) for side in (0, 1)
        )
        return LevelReason(
            share=float(shares.sum()),
            reliability=float(weights.sum() / (weights + handed_down).sum().clamp(min=1e-12)),
            correction=float(self._corrections[level].sum()),
            query=self._distance_map(0, level),
            match=self._distance_map(1, level),
            query_common=query_common,
            match_common=match_common,
            together=tuple(self._node(level, i) for i in common.topk(n_nodes).indices.tolist()),
            apart=tuple(self._node(level, i) for i in shares.topk(n_nodes).indices.tolist()),
        )

    def _chain(self, node: int, amount: float, amounts: Sequence[Tensor]) -> NodeChain:
        nodes, links = [self._node(len(amounts) - 1, node)], []
        for level in reversed(range(len(amounts) - 1)):
            column = self._graph.links[level][:, node]
            node = int((column * amounts[level]).argmax())
            links.append(float(column[node]))
            nodes.append(self._node(level, node))
        return NodeChain(amount, tuple(nodes), tuple(links))

    def _node(self, level: int, node: int) -> NodeReason:
        parents = ops.strongest_parents(self._nodes, self._graph, level, node)
        return NodeReason(
            level=level,
            node=node,
            weight=float(self._nodes.weights[level][node]),
            share=float(self._nodes.of_level(level)[node]),
            common=float(self._nodes.weights[level][node] * self.products[level][node]),
            query=self._map(0, level, self._cells(0, level)[:, node]),
            match=self._map(1, level, self._cells(1, level)[:, node]),
            paths=tuple(
                NodePath(*path) for path in zip(parents.nodes.tolist(), parents.amounts.tolist(), strict=True)
            ),
            reliability=float(self._nodes.gates[level][node]),
            correction=float(self._corrections[level][node]),
        )

    def _common_map(self, side: int, level: int) -> Tensor:
        weighted = self._nodes.weights[level] * self._nodes.units[level][1 - side]
        return self._cells(side, level) @ weighted

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
