"""Explanations by an AVSL graph: its levels, its nodes, and how they are linked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from lookalike.types.explanations import Explanation
from lookalike.types.maps import ImageMap


@dataclass(frozen=True)
class NodePath:
    """A node of the level above through which a lower node contributes to the distance."""

    node: int  # index in the level above
    amount: float  # contribution through it, a part of the lower node's share of the distance


@dataclass(frozen=True)
class NodeReason:
    """Contribution of one node of an AVSL graph to a pair, and its maps on both images.

    ``share`` is ``weight * (a - b)^2`` and ``common`` is ``weight * a * b`` of the unit values a and b,
    to which the two maps sum.
    """

    level: int  # 0 is the lowest
    node: int
    weight: float  # 0 or more; total weight, directly and through the nodes above
    share: float  # of the distance, 0 or more
    common: float  # of what both have in common, signed
    query: ImageMap  # on the level's grid; sums to the node's value for the query
    match: ImageMap
    paths: tuple[NodePath, ...]  # largest amount first; empty at the highest level
    reliability: float  # in [0, 1]: how far its own difference is believed; 1 at the lowest level
    correction: float  # of the distance, signed: what inferring it from below changed; 0 at the lowest

    def to_dict(self) -> dict[str, Any]:
        """Return the node's numbers and maps as JSON types."""
        return {
            **self.numbers(),
            "query_map": self.query.values.tolist(),
            "match_map": self.match.values.tolist(),
            "paths": [{"node": path.node, "amount": path.amount} for path in self.paths],
        }

    def numbers(self) -> dict[str, Any]:
        """Return what ``to_dict`` does, without maps and paths."""
        return {
            "level": self.level,
            "node": self.node,
            "weight": self.weight,
            "reliability": self.reliability,
            "share": self.share,
            "common": self.common,
            "correction": self.correction,
            "query_value": self.query.total,
            "match_value": self.match.total,
        }


@dataclass(frozen=True)
class NodeChain:
    """A node of the highest level, the node below that adds most to it, and so on to the lowest."""

    amount: float  # of the highest node as inferred: a part of the distance, or of what both have in common
    nodes: tuple[NodeReason, ...]  # high to low
    links: tuple[float, ...]  # in [0, 1], one less than nodes: the lower one's weight in the higher one

    def to_dict(self) -> dict[str, Any]:
        """Return the amount, the links and the nodes as JSON types."""
        return {
            "amount": self.amount,
            "links": list(self.links),
            "nodes": [node.to_dict() for node in self.nodes],
        }


@dataclass(frozen=True)
class LevelReason:
    """Contribution of one level of an AVSL graph to a distance."""

    share: float  # of the distance, 0 or more: the sum over the level's nodes
    reliability: float  # in [0, 1]: part of the weight that arrives at the level and stays there
    correction: float  # of the distance, signed: the sum over the level's nodes
    query: ImageMap  # sums to share; negative cells bring the images nearer
    match: ImageMap  # sums to share
    query_common: ImageMap  # sums to the level's part of what both have in common
    match_common: ImageMap
    together: tuple[NodeReason, ...]  # nodes with most in common, largest first
    apart: tuple[NodeReason, ...]  # nodes with the largest share of the distance, largest first

    @property
    def common(self) -> float:
        """The level's part of what both images have in common, signed."""
        return self.query_common.total

    def to_dict(self) -> dict[str, Any]:
        """Return the level's numbers, maps and nodes as JSON types."""
        return {
            "share": self.share,
            "reliability": self.reliability,
            "correction": self.correction,
            "common": self.common,
            "query_map": self.query.values.tolist(),
            "match_map": self.match.values.tolist(),
            "query_common_map": self.query_common.values.tolist(),
            "match_common_map": self.match_common.values.tolist(),
            "together": [node.to_dict() for node in self.together],
            "apart": [node.to_dict() for node in self.apart],
        }


@dataclass(frozen=True, repr=False)
class GraphExplanation(Explanation):
    """An Explanation by an AVSL graph of nodes, with the contributions of its levels.

    Its similarity is one minus half the distance, which equals the cosine if every node of the highest
    level is reliable. The maps attribute what both images have in common; the residual is the term that
    depends only on the length of the reliable nodes.
    """

    distance: float  # inferred by the graph, 0 or more; the sum of the levels' shares
    own_distance: float  # of the highest level's nodes alone; with the levels' corrections, the distance
    levels: tuple[LevelReason, ...]  # low to high
    together: tuple[NodeChain, ...]  # by what both have in common, largest first
    apart: tuple[NodeChain, ...]  # by their part of the distance, largest first
    corrected: tuple[NodeReason, ...]  # nodes of any level with the largest corrections, either sign

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation and its graph as JSON types, without the images."""
        return {
            **super().to_dict(),
            "distance": self.distance,
            "own_distance": self.own_distance,
            "levels": [level.to_dict() for level in self.levels],
            "together": [chain.to_dict() for chain in self.together],
            "apart": [chain.to_dict() for chain in self.apart],
            "corrected": [node.numbers() for node in self.corrected],
        }
