"""Response bodies of explanations by an AVSL graph: levels, nodes and chains of linked nodes."""

from __future__ import annotations

from pydantic import BaseModel, Field

from lookalike.render.ranges import per_percent, shared_range
from lookalike.types import GraphExplanation, ImageMap, LevelReason, NodeChain, NodeReason
from lookalike.web.schemas import ExplanationOut, Grid, as_grid

_Reliability = Field(description="In [0, 1]; the rest is inferred from the level below.")
_Correction = Field(description="Change of the distance by inferring from the level below, signed.")
_Limit = Field(description="Largest absolute value per 1% of the view, over both maps.")


class LevelOut(BaseModel):
    """One level of the graph, with maps of what both pictures have in common at it."""

    level: int = Field(description="1 is the lowest, with the finest grid.")
    share: float = Field(description="Part of the distance.")
    common: float = Field(description="Sum of each map.")
    reliability: float = _Reliability
    correction: float = _Correction
    query_map: Grid
    match_map: Grid
    limit: float = _Limit

    @classmethod
    def of(cls, index: int, level: LevelReason) -> LevelOut:
        """Return a level for the API; ``index`` is 0 for the lowest."""
        return cls(
            level=index + 1,
            share=level.share,
            common=level.common,
            reliability=level.reliability,
            correction=level.correction,
            query_map=as_grid(level.query_common.values),
            match_map=as_grid(level.match_common.values),
            limit=_limit(level.query_common, level.match_common),
        )


class NodeOut(BaseModel):
    """One node of the graph, with maps that sum to its values."""

    level: int = Field(description="1 is the lowest.")
    node: int
    share: float = Field(description="Part of the distance.")
    common: float = Field(description="Part of what both pictures have in common, signed.")
    reliability: float = _Reliability
    correction: float = _Correction
    query_value: float
    match_value: float
    query_map: Grid
    match_map: Grid
    limit: float = _Limit

    @classmethod
    def of(cls, node: NodeReason) -> NodeOut:
        """Return a node for the API."""
        return cls(
            level=node.level + 1,
            node=node.node,
            share=node.share,
            common=node.common,
            reliability=node.reliability,
            correction=node.correction,
            query_value=node.query.total,
            match_value=node.match.total,
            query_map=as_grid(node.query.values),
            match_map=as_grid(node.match.values),
            limit=_limit(node.query, node.match),
        )


class ChainOut(BaseModel):
    """A node of the highest level, and below it the nodes that it is inferred from."""

    amount: float = Field(description="Of the highest node, as inferred.")
    nodes: list[NodeOut] = Field(description="Highest level first.")
    links: list[float] = Field(description="Weights of the links between them, in [0, 1].")

    @classmethod
    def of(cls, chain: NodeChain) -> ChainOut:
        """Return a chain for the API."""
        nodes = [NodeOut.of(node) for node in chain.nodes]
        return cls(amount=chain.amount, nodes=nodes, links=list(chain.links))


class GraphExplanationOut(ExplanationOut):
    """An explanation by an AVSL graph; its similarity is one minus half the distance."""

    distance: float = Field(description="As the graph infers it.")
    own_distance: float = Field(description="Of the highest level alone; with all corrections, the distance.")
    levels: list[LevelOut] = Field(description="Lowest first; their maps add up to those of the explanation.")
    together: list[ChainOut] = Field(description="By what both pictures have in common, largest first.")
    apart: list[ChainOut] = Field(description="By their part of the distance, largest first.")
    corrected: list[NodeOut] = Field(description="Nodes with the largest corrections of either sign.")

    @classmethod
    def of_graph(cls, explanation: GraphExplanation, limit: float) -> GraphExplanationOut:
        """Return an explanation by a graph for the API."""
        return cls(
            **dict(ExplanationOut.of(explanation, limit)),
            distance=explanation.distance,
            own_distance=explanation.own_distance,
            levels=[LevelOut.of(i, level) for i, level in enumerate(explanation.levels)],
            together=[ChainOut.of(chain) for chain in explanation.together],
            apart=[ChainOut.of(chain) for chain in explanation.apart],
            corrected=[NodeOut.of(node) for node in explanation.corrected],
        )


def _limit(*sides: ImageMap) -> float:
    return shared_range(*(per_percent(side).values for side in sides))[1]
