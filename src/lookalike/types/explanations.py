"""Why images are similar: maps, and which cells match."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lookalike.types.geometry import FloatArray, Geometry, Picture


@dataclass(frozen=True)
class Explanation:
    """Why two images are similar: one signed map on the feature grid of each.

    Where ``additive`` is true the maps are attributions in units of similarity: each sums to the
    similarity minus its residual. Where it is false they are heat maps: relative weights only.
    """

    similarity: float  # the score explained: cosine in [-1, 1]
    query_map: FloatArray  # (hq, wq) signed
    match_map: FloatArray  # (hm, wm) signed
    method: str  # "shares", "rollout", ...
    additive: bool  # whether the maps sum to the similarity, up to the residual
    model: str  # name of the model that saw the images
    query: Picture
    match: Picture
    query_geometry: Geometry
    match_geometry: Geometry

    @property
    def residual(self) -> float:
        """The part of the similarity that the query map does not account for."""
        return self._missing(self.query_map)

    @property
    def match_residual(self) -> float:
        """The part of the similarity that the match map does not account for."""
        return self._missing(self.match_map)

    def _missing(self, values: FloatArray) -> float:
        if not self.additive:
            raise ValueError(
                f"a {self.method} map is a heat map, not a sum of shares, so it has no residual; "
                "check explanation.additive first"
            )
        return self.similarity - float(values.sum(dtype=np.float64))


@dataclass(frozen=True)
class NodePath:
    """A higher node by way of which a lower one counts."""

    node: int  # of the level above
    amount: float  # of the lower node's share of the distance


@dataclass(frozen=True)
class NodeReason:
    """What one node of a graph says of a pair, and where it looks on both images.

    ``share`` is ``weight * (a - b)^2`` and ``common`` is ``weight * a * b`` of the unit values a and b.
    """

    level: int  # 0 is the lowest
    node: int
    weight: float  # 0 or more; how much the node counts, directly and by way of the nodes above
    share: float  # of the distance, 0 or more
    common: float  # of what both have in common, signed
    query_value: float
    match_value: float
    query_map: FloatArray  # (h, w) of the level's grid, sums to query_value
    match_map: FloatArray  # (h, w), sums to match_value
    paths: tuple[NodePath, ...]  # strongest first; empty at the highest level, which counts directly


@dataclass(frozen=True)
class LevelReason:
    """One level's part of a distance."""

    share: float  # of the distance, 0 or more: the sum over the level's nodes
    query_map: FloatArray  # (h, w) signed, sums to share; negative cells bring the images nearer
    match_map: FloatArray  # (h, w) signed, sums to share
    together: tuple[NodeReason, ...]  # nodes with most in common, largest first
    apart: tuple[NodeReason, ...]  # nodes with the largest share of the distance, largest first


@dataclass(frozen=True)
class GraphExplanation(Explanation):
    """Why a graph of nodes finds two images similar: an Explanation with its levels.

    Its similarity is one minus half the distance, which is the cosine where every node of the highest
    level is believed. The maps hold what both images have in common; the residual is what the length
    of the believed nodes adds to that.
    """

    distance: float  # inferred by the graph, 0 or more; the sum of the levels' shares
    levels: tuple[LevelReason, ...]  # low to high


@dataclass(frozen=True)
class Difference:
    """Why the query is closer to one match than to another: a signed map on the query."""

    query_map: FloatArray  # (h, w) positive where the cell speaks for the preferred match
    preferred_similarity: float  # cosine with the match that should come first
    other_similarity: float  # cosine with the match that should come second
    model: str
    query: Picture
    query_geometry: Geometry
    preferred: Picture
    other: Picture

    @property
    def residual(self) -> float:
        """The part of the difference of similarities that the map does not account for."""
        gap = self.preferred_similarity - self.other_similarity
        return gap - float(self.query_map.sum(dtype=np.float64))


@dataclass(frozen=True)
class CellMatch:
    """A cell of the query and a cell of the match that are each other's best counterpart."""

    query_cell: tuple[int, int]  # (row, column) on the query grid
    match_cell: tuple[int, int]  # (row, column) on the match grid
    contribution: float  # the pair's share of the similarity
    cosine: float  # of the two local shares, in [-1, 1]


@dataclass(frozen=True)
class CellSimilarity:
    """Which cell of the query matches which cell of the match."""

    values: FloatArray  # (Nq, Nm) signed; row sums are the query map, column sums the match map
    query_grid: tuple[int, int]
    match_grid: tuple[int, int]
    matches: tuple[CellMatch, ...]  # mutual best matches, largest contribution first
    similarity: float
    model: str
    query: Picture
    match: Picture
    query_geometry: Geometry
    match_geometry: Geometry
