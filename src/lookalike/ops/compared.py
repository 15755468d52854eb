"""Items that can be compared: by the cosine of their vectors, or by AVSL's inferred distance.

Evaluations rank and cluster by these, whatever the model.
"""

from __future__ import annotations

from typing import Any, Protocol, final

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookalike.ops.avsl import TILE, Graph, Nodes, all_pairs

_KEPT = 8192  # items up to which the distances among themselves are computed once and kept, in 256 MiB
_TILE_ON_GPU = 256


class Compared(Protocol):
    """N items of one model."""

    def __len__(self) -> int:
        """N."""

    def similarities(
        self, rows: Int[Tensor, " R"], others: Any, columns: Int[Tensor, " C"] | None = None
    ) -> Float[Tensor, "R C"]:
        """Similarity of some items with some of the others, with all if ``columns`` is None; on the CPU."""


@final
class ComparedUnits:
    """Unit vectors (N, D), compared by their cosine, in [-1, 1].

    >>> import torch
    >>> items = ComparedUnits(torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.6, 0.8]]))
    >>> items.similarities(torch.tensor([2]), items)
    tensor([[0.6000, 0.8000, 1.0000]])
    """

    def __init__(self, units: Float[Tensor, "N D"]) -> None:
        self.units = units

    def __len__(self) -> int:
        return len(self.units)

    def similarities(
        self, rows: Int[Tensor, " R"], others: ComparedUnits, columns: Int[Tensor, " C"] | None = None
    ) -> Float[Tensor, "R C"]:
        """Cosines (R, C)."""
        asked = others.units if columns is None else others.units[columns.to(others.units.device)]
        return (self.units[rows.to(self.units.device)] @ asked.T).cpu()


@final
class ComparedNodes:
    """Images as nodes, compared by one minus half of the distance that their graph infers.

    That is the cosine of one level where no other has a say (power 2). Nodes and graph lie on one device,
    where the distances are computed in tiles; memory beside them is that of the similarities, and 256 MiB
    for up to 8,192 images among themselves, each pair of which is computed once.
    """

    def __init__(self, nodes: Nodes, graph: Graph) -> None:
        self.nodes, self.graph = nodes, graph
        self._among: Tensor | None = None

    def __len__(self) -> int:
        return len(self.nodes)

    def similarities(
        self, rows: Int[Tensor, " R"], others: ComparedNodes, columns: Int[Tensor, " C"] | None = None
    ) -> Float[Tensor, "R C"]:
        """One minus half the inferred distances (R, C), at most 1."""
        device = self.nodes.embeddings[0].device
        tile = TILE if device.type == "cpu" else _TILE_ON_GPU
        if others is self and len(self) <= _KEPT:
            if self._among is None:
                self._among = _similarity(all_pairs(self.nodes, graph=self.graph, tile=tile))
            found = self._among[rows]
            return found if columns is None else found[:, columns]
        asked = others.nodes if columns is None else others.nodes.rows(columns.to(device))
        some = self.nodes.rows(rows.to(device))
        return _similarity(all_pairs(some, asked, graph=self.graph, tile=tile))


def _similarity(distances: Float[Tensor, "R C"]) -> Float[Tensor, "R C"]:
    return torch.rsub(distances.cpu(), 1.0, alpha=0.5)
