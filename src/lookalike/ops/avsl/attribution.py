"""Attribution of an inferred distance to nodes, to paths between them, and to cells.

For given gates the inference is linear in the differences, so the distance is exactly the
``sum over levels and nodes of weight * difference``. A node of the highest level has weight 1 times
its gate; below that, the weight that the gates of the nodes above leave over is handed down by the links.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookalike.ops.avsl.distance import differences
from lookalike.ops.avsl.graph import Graph, Nodes


@dataclass(frozen=True)
class DistanceShares:
    """One pair's distance as a sum over the nodes of L levels, low to high."""

    weights: tuple[Tensor, ...]  # each (D,), 0 or more; weight of a node's own difference
    differences: tuple[Tensor, ...]  # each (D,): |a - b|^p
    handed_down: tuple[Tensor, ...]  # each (D,): weight given to the level below; zeros at the lowest
    gates: tuple[Tensor, ...]  # each (D,) in [0, 1]: part of its weight that a node keeps; ones at the lowest
    units: tuple[tuple[Tensor, Tensor], ...]  # p-normalized nodes of both images, each (D,)

    def of_level(self, level: int) -> Float[Tensor, " D"]:
        """Share of each node of a level in the distance: (D,)."""
        return self.weights[level] * self.differences[level]

    @property
    def distance(self) -> Float[Tensor, ""]:
        """The sum of all shares: the inferred distance."""
        return torch.stack([self.of_level(i).sum() for i in range(len(self.weights))]).sum()


@dataclass(frozen=True)
class Parents:
    """The higher nodes through which a lower node contributes."""

    nodes: Int[Tensor, " K"]  # of the level above, the largest amount first
    amounts: Float[Tensor, " K"]  # of the lower node's share of the distance that passes through each


def distance_shares(query: Nodes, match: Nodes, graph: Graph) -> DistanceShares:
    """The shares of all nodes in the distance of one pair (both ``Nodes`` hold one image)."""
    units = [(a[0], b[0]) for a, b in zip(query.units(graph.power), match.units(graph.power), strict=True)]
    arriving = torch.ones_like(units[-1][0])
    weights: list[Tensor] = []
    handed_down: list[Tensor] = []
    gates: list[Tensor] = []
    for level in reversed(range(len(units))):
        if level == 0:
            gate = torch.ones_like(arriving)
        else:
            gate = graph.gates(level, query.certainties[level][0], match.certainties[level][0])
        gates.append(gate)
        weights.append(arriving * gate)
        handed_down.append(arriving * (1 - gate))
        if level:
            arriving = graph.links[level - 1] @ handed_down[-1]
    return DistanceShares(
        tuple(reversed(weights)),
        tuple(differences(a, b, graph.power) for a, b in units),
        tuple(reversed(handed_down)),
        tuple(reversed(gates)),
        tuple(units),
    )


def inferred(shares: DistanceShares, graph: Graph, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """A quantity of the nodes, each (D,) low to high, as the graph infers it from the lowest level up.

    ``f_0 = v_0`` and ``f_l = gate * v_l + (1 - gate) * (links^T f_below)``. Of the differences, the sum at
    the highest level is the distance.
    """
    found: list[Tensor] = []
    for level, own in enumerate(values):
        gate = shares.gates[level]
        found.append(own if level == 0 else gate * own + (1 - gate) * (found[-1] @ graph.links[level - 1]))
    return tuple(found)


def corrections(shares: DistanceShares, graph: Graph) -> tuple[Tensor, ...]:
    """By how much each node's difference was corrected from below, (D,) each, signed; zeros at the lowest.

    A node corrects by the weight that it hands down, times the linked differences of the level below less
    its own. All of them and the sum of the highest level's own differences are the distance.
    """
    found = [torch.zeros_like(shares.differences[0])]
    for level in range(1, len(shares.differences)):
        below = shares.differences[level - 1] @ graph.links[level - 1]
        found.append(shares.handed_down[level] * (below - shares.differences[level]))
    return tuple(found)


def strongest_parents(shares: DistanceShares, graph: Graph, level: int, node: int, k: int = 3) -> Parents:
    """The k nodes above through which most of a lower node's share passes; none for the highest level.

    The amounts over all nodes above sum to the node's share of the distance.
    """
    if level == len(shares.weights) - 1:
        nothing = shares.weights[level].new_empty(0)
        return Parents(nothing.long(), nothing)
    arriving = graph.links[level][node] * shares.handed_down[level + 1]  # (D_high,)
    own = shares.weights[level][node] / arriving.sum().clamp(min=torch.finfo(arriving.dtype).tiny)
    amounts, nodes = (arriving * own * shares.differences[level][node]).topk(min(k, len(arriving)))
    return Parents(nodes, amounts)


def distance_map(
    cells: Float[Tensor, "N D"],
    other: Float[Tensor, " D"],
    weights: Float[Tensor, " D"],
    power: float = 2.0,
) -> Float[Tensor, " N"]:
    """Share of each cell of one image in a level's part of the distance: (N,), signed.

    ``cells`` sum to the image's p-normalized nodes ``a``, and each takes 1/N of ``b``. As
    ``|d|^p = d * sign(d) |d|^(p-1)`` with ``d = a - b``, the map sums to
    ``sum of weights * |a - b|^p``. Negative cells make the images more similar.
    """
    deviation = cells - other / len(cells)  # (N, D)
    total = deviation.sum(0)
    slope = total if power == 2 else total.sign() * total.abs().pow(power - 1)
    return deviation @ (weights * slope)
