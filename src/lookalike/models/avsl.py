"""Inference with an AVSL model: images to nodes, and nodes to distances and shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lookalike.models.avsl_network import AvslNetwork
from lookalike.models.embedder import Embedder, ImageSource, InputPixels
from lookalike.models.finite import check_finite
from lookalike.ops.avsl import Graph, Nodes, all_pairs
from lookalike.ops.compared import ComparedNodes
from lookalike.types import Geometry, Reading

_BATCH = 16  # images; maps of their nodes take some 2 MiB an image


@dataclass(frozen=True)
class NodeShares:
    """One image's nodes as sums over the cells of three grids."""

    nodes: Nodes  # of one image
    shares: tuple[Tensor, ...]  # each (N, D) float64, low to high; sums to the level's embedding
    grids: tuple[tuple[int, int], ...]  # (h, w) of each level
    geometry: Geometry


@final
class AvslModel:
    """An embedder's graph of nodes: distances between images, and shares of the nodes.

    Runs in fp32 on the embedder's device. Raises UnsupportedMethodError for an embedder without one.
    """

    def __init__(self, embedder: Embedder) -> None:
        self.embedder = embedder
        self.network = AvslNetwork.of(embedder.network)
        with torch.no_grad():
            self.graph: Graph = self.network.gates.graph()

    @classmethod
    def load(cls, model: str, *, device: str | torch.device = "auto") -> AvslModel:
        """Load a folder or checkpoint, as ``Embedder.load`` does."""
        return cls(Embedder.load(model, device=device))

    def nodes(self, sources: Sequence[ImageSource | Reading]) -> Nodes:
        """Embeddings and certainties of B images at three levels, on the CPU.

        Raises UnreadableImageError, naming the file, at the first that can't be read.
        """
        starts = range(0, len(sources), _BATCH)
        return Nodes.joined([self.pixel_nodes(self._read(sources[i : i + _BATCH])) for i in starts])

    @torch.inference_mode()
    def pixel_nodes(self, pixels: Sequence[InputPixels]) -> Nodes:
        """Nodes of B preprocessed pictures (H, W, 3) uint8, on the CPU; few at once, their maps are large."""
        tensors = [self.embedder.pixel_tensor(array) for array in pixels]
        if len({tensor.shape for tensor in tensors}) == 1:
            tensors = [torch.cat(tensors)]
        return Nodes.joined([self.network(tensor).nodes.to("cpu") for tensor in tensors])

    def compared(self, nodes: Nodes) -> ComparedNodes:
        """Images that are compared by the inferred distance, on the embedder's device."""
        return ComparedNodes(nodes.to(self.embedder.device), self.graph)

    def _read(self, sources: Sequence[ImageSource | Reading]) -> list[InputPixels]:
        return [self.embedder.read(source).pixels for source in sources]

    def distances(self, query: Nodes, gallery: Nodes | None = None) -> Tensor:
        """Inferred distances (Q, G), 0 or more, smaller is closer.

        Without a gallery, those of the queries among themselves.
        """
        return all_pairs(query, gallery, graph=self.graph_on_cpu)

    @property
    def graph_on_cpu(self) -> Graph:
        """A copy of the graph on the CPU, where ``nodes`` returns its results."""
        return self.graph.to("cpu")

    @torch.inference_mode()
    def shares(self, source: ImageSource | Reading) -> NodeShares:
        """One image's nodes and the share of each cell in them."""
        tensor, geometry = self.embedder.tensor(source)
        levels = self.network(tensor)
        name = source.picture.name if isinstance(source, Reading) else "an image"
        check_finite(torch.cat(levels.nodes.embeddings, dim=1)[:1], self.embedder.name, [name])
        maps = [m[0].double().cpu() for m in levels.maps]  # each (D, h, w)
        nodes = Nodes(
            tuple(e.cpu() for e in levels.nodes.embeddings),
            tuple(c.cpu() for c in levels.nodes.certainties),
        )
        return NodeShares(
            nodes=nodes,
            shares=tuple(m.flatten(1).T / m[0].numel() for m in maps),
            grids=tuple((m.shape[1], m.shape[2]) for m in maps),
            geometry=geometry,
        )
