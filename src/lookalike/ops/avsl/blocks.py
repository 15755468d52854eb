"""Inferred distances of many images in bounded memory, in tiles of pairs that fit into the cache.

A tile takes three buffers of ``tile² * D`` numbers, whatever the number of images. The cost is that
of the two products with the links, which are different for each pair because of its gates.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookalike.ops.avsl.graph import Graph, Nodes

TILE = 32  # images a side: tile² x 512 numbers are 2 MiB


@torch.inference_mode()
def all_pairs(
    query: Nodes, gallery: Nodes | None = None, *, graph: Graph, tile: int = TILE
) -> Float[Tensor, "Q G"]:
    """``final_distances`` without gradients: (Q, G); without a gallery, of the queries among themselves.

    Among themselves each pair is computed once. Memory beside the inputs is that of the result.
    """
    others = query if gallery is None else gallery
    tiles = _Tiles(query, others, graph, tile)
    distances = query.embeddings[0].new_empty(len(query), len(others))
    for row in range(0, len(query), tile):
        for column in range(0 if gallery is not None else row, len(others), tile):
            values = tiles.between(row, column)
            distances[row : row + tile, column : column + tile] = values
            if gallery is None and column != row:
                distances[column : column + tile, row : row + tile] = values.T
    return distances


@torch.inference_mode()
def nearest_nodes(
    query: Nodes, gallery: Nodes, k: int, *, graph: Graph, tile: int = TILE
) -> tuple[Float[Tensor, "Q K"], Int[Tensor, "Q K"]]:
    """The k smallest distances of each query and their rows, nearest first, without the whole matrix.

    Memory beside the inputs is ``tile * G`` numbers and the result.
    """
    if k < 1:
        raise ValueError(f"k is 1 or more, got {k}")
    tiles = _Tiles(query, gallery, graph, tile)
    found = [
        torch.cat(list(_row(tiles, row, len(gallery))), dim=1).topk(min(k, len(gallery)), largest=False)
        for row in range(0, len(query), tile)
    ]
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


@torch.inference_mode()
def listed_pairs(
    query: Nodes, gallery: Nodes, rows: Int[Tensor, "Q K"], *, graph: Graph
) -> Float[Tensor, "Q K"]:
    """Distance of each query to its own K rows of the gallery, as after a search by embedding."""
    tiles = _Tiles(query, gallery, graph, 1)
    of_queries = [tiles(slice(i, i + 1), of_query) for i, of_query in enumerate(rows)]
    return torch.cat(of_queries) if of_queries else query.embeddings[0].new_empty(0, rows.shape[1])


def _row(tiles: _Tiles, row: int, n_columns: int) -> Iterator[Tensor]:
    return (tiles.between(row, column) for column in range(0, n_columns, tiles.size))


class _Tiles:
    """Distances between rows of the queries and rows of the gallery, in reused buffers."""

    def __init__(self, query: Nodes, gallery: Nodes, graph: Graph, size: int) -> None:
        self.graph, self.size = graph, size
        self._a, self._b = query.units(graph.power), gallery.units(graph.power)
        steepness = [graph.sharpness * coefficient for coefficient in graph.coefficients]
        self._trust = [c * s for c, s in zip(query.certainties, steepness, strict=True)]  # (Q, D) a level
        self._certainty = gallery.certainties
        self._shift = [graph.sharpness * bias for bias in graph.biases]
        self._buffers = [self._a[0].new_empty(0) for _ in range(3)]

    def between(self, row: int, column: int) -> Float[Tensor, "q g"]:
        """The distances of the tile that begins at this row and column."""
        return self(slice(row, row + self.size), slice(column, column + self.size))

    def __call__(self, rows: slice, columns: slice | Int[Tensor, " K"]) -> Float[Tensor, "q g"]:
        """The distances between some queries and some of the gallery."""
        inferred = self._differences(0, rows, columns, self._buffers[0])
        for level in range(1, len(self._a)):
            own = self._differences(level, rows, columns, self._buffers[1])
            below = self._product(inferred, self.graph.links[level - 1], self._buffers[2])
            gate = torch.addcmul(
                self._shift[level],
                self._trust[level][rows, None],
                self._certainty[level][columns],
                out=self._shaped(self._buffers[0], own.shape),
            ).sigmoid_()
            inferred = torch.lerp(below, own, gate, out=gate)
        return inferred.sum(-1)

    def _differences(self, level: int, rows: slice, columns: slice | Tensor, buffer: Tensor) -> Tensor:
        a, b = self._a[level][rows, None], self._b[level][columns]
        out = self._shaped(buffer, (len(a), len(b), a.shape[2]))
        torch.sub(a, b, out=out)
        return out.square_() if self.graph.power == 2 else out.abs_().pow_(self.graph.power)

    def _product(self, differences: Tensor, links: Tensor, buffer: Tensor) -> Tensor:
        shape = (*differences.shape[:2], links.shape[1])
        out = self._shaped(buffer, shape)
        torch.mm(differences.flatten(0, 1), links, out=out.flatten(0, 1))
        return out

    @staticmethod
    def _shaped(buffer: Tensor, shape: tuple[int, ...] | torch.Size) -> Tensor:
        """The first numbers of a buffer, made large enough, in this shape."""
        n = math.prod(shape)
        if buffer.numel() < n:
            buffer.resize_(n)
        return buffer[:n].view(shape)
