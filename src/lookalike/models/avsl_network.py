"""AVSL as modules on any backbone with three feature levels.

Zhang et al., *Attributable Visual Similarity Learning*, CVPR 2022. An embedder is an AVSL model
where its network carries a ``NodeGraph``: the highest level is then the embedder's own embedding.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, final, get_args

import torch
from torch import Tensor, nn

from lookalike.errors import UnsupportedMethodError
from lookalike.models.backbones import Backbone, LevelChoice, level_maps, level_widths
from lookalike.models.network import EmbeddingNetwork
from lookalike.models.poolings import AveragePlusMaxPooling
from lookalike.ops.avsl import (
    Graph,
    Nodes,
    activation_maps,
    certainty,
    moving_average,
    node_embedding,
    sparse_links,
)


@dataclass(frozen=True)
class GraphSettings:
    """Settings of a graph besides its weights; the defaults are the published ones."""

    top_k: int = 128  # lower nodes that each node is linked to
    sharpness: float = 10.0  # of the gates
    power: float = 2.0  # p of norm and differences
    momentum: float = 0.5  # of the links' moving average
    levels: LevelChoice = "resolutions"  # which stages of the backbone the lower levels are

    def __post_init__(self) -> None:
        if self.top_k < 1 or not self.power >= 1 or not 0 <= self.momentum <= 1:
            raise ValueError(f"a graph has top_k and power of 1 or more and a momentum in [0, 1], got {self}")
        if self.levels not in get_args(LevelChoice):
            raise ValueError(f"levels are {' or '.join(get_args(LevelChoice))}, got {self.levels!r}")


@final
class Gates(nn.Module):
    """The learned part of the graph: links between nodes, and gates of how much each node is trusted."""

    def __init__(self, width: int, n_levels: int, settings: GraphSettings = GraphSettings()) -> None:
        super().__init__()
        self.settings = settings
        self.coefficients = nn.ParameterList(nn.Parameter(torch.ones(width)) for _ in range(n_levels))
        self.biases = nn.ParameterList(nn.Parameter(torch.zeros(width)) for _ in range(n_levels))
        self.register_buffer("links", torch.zeros(n_levels - 1, width, width))  # (low, high) each
        self.register_buffer("n_updates", torch.tensor(0))
        self.links: Tensor
        self.n_updates: Tensor

    @torch.no_grad()
    def update(self, correlations: Sequence[Tensor]) -> None:
        """Update the links by the maps' correlations of one batch; the first batch sets them."""
        for link, new in zip(self.links, correlations, strict=True):
            momentum = self.settings.momentum if self.n_updates else 0.0
            link.copy_(moving_average(link, new, momentum))
        self.n_updates += 1

    def graph(self) -> Graph:
        """The graph as tensors; gradients reach the gates."""
        return Graph(
            tuple(sparse_links(link, self.settings.top_k) for link in self.links),
            tuple(self.coefficients),
            tuple(self.biases),
            self.settings.sharpness,
            self.settings.power,
        )


@final
class NodeGraph(nn.Module):
    """The part of an AVSL model beyond its embedder: nodes of the lower levels, links and gates."""

    def __init__(self, projections: Sequence[nn.Linear], gates: Gates) -> None:
        super().__init__()
        self.projections = nn.ModuleList(projections)  # channels to nodes, low to high, without the highest
        self.gates = gates

    def describe(self) -> dict[str, Any]:
        """The JSON description that ``build_graph`` reads back."""
        return {"kind": "avsl", **asdict(self.gates.settings)}


@dataclass(frozen=True)
class Levels:
    """Nodes of a batch and their activation maps."""

    nodes: Nodes
    maps: tuple[Tensor, ...]  # each (B, D, h, w), low to high; the mean over cells is the embedding


@final
class AvslNetwork(nn.Module):
    """A backbone with one projection per level, and the gates that merge the levels into one distance."""

    def __init__(self, backbone: Backbone, projections: Sequence[nn.Linear], gates: Gates) -> None:
        super().__init__()
        self.backbone = backbone
        self.projections = nn.ModuleList(projections)
        self.gates = gates

    @classmethod
    def new(
        cls,
        backbone: Backbone,
        width: int = 512,
        settings: GraphSettings = GraphSettings(),
        *,
        seed: int = 0,
    ) -> AvslNetwork:
        """Untrained projections on a backbone: He normal over the outgoing side, biases 0.

        Raises UnsupportedMethodError for a backbone without three feature levels.
        """
        generator = torch.Generator().manual_seed(seed)
        projections = []
        for channels in level_widths(backbone, settings.levels):
            layer = nn.Linear(channels, width)
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", generator=generator)
            nn.init.zeros_(layer.bias)
            projections.append(layer)
        return cls(backbone, projections, Gates(width, len(projections), settings))

    @classmethod
    def of(cls, network: EmbeddingNetwork) -> AvslNetwork:
        """The AVSL model that an embedder's network is; it shares all weights.

        Raises UnsupportedMethodError where the network has no graph of nodes.
        """
        graph, head = network.graph, network.head
        if not isinstance(graph, NodeGraph) or not isinstance(head[0], nn.Linear):
            raise UnsupportedMethodError(
                "this model has no graph of nodes; train one with 'lookalike train --avsl', or use method "
                "'shares'"
            )
        lower = [layer for layer in graph.projections if isinstance(layer, nn.Linear)]
        return cls(network.backbone, [*lower, head[0]], graph.gates)

    def embedder_network(self) -> EmbeddingNetwork:
        """A network that embeds with the highest level and holds the rest as its graph; shares weights."""
        *lower, highest = self.layers
        network = EmbeddingNetwork(self.backbone, AveragePlusMaxPooling(), nn.Sequential(highest))
        network.graph = NodeGraph(lower, self.gates)
        return network

    @property
    def layers(self) -> list[nn.Linear]:
        """The projections, low to high."""
        return [layer for layer in self.projections if isinstance(layer, nn.Linear)]

    def forward(self, images: Tensor) -> Levels:
        """Nodes and their maps of normalized images (B, 3, H, W); only the embeddings have gradients."""
        features = level_maps(self.backbone, images, self.gates.settings.levels)
        weights = [(layer.weight, layer.bias) for layer in self.layers]  # (D, C) and (D,)
        with torch.autocast(images.device.type, enabled=False):
            features = tuple(feature.float() for feature in features)
            embeddings = [node_embedding(f, w, b) for f, (w, b) in zip(features, weights, strict=True)]
            with torch.no_grad():
                maps = [activation_maps(f, w, b) for f, (w, b) in zip(features, weights, strict=True)]
                certainties = [certainty(m) for m in maps]
        return Levels(Nodes(tuple(embeddings), tuple(certainties)), tuple(maps))


def build_graph(
    spec: Mapping[str, Any], weights: Mapping[str, Tensor], backbone: Backbone, width: int
) -> NodeGraph:
    """The graph that a saved model describes, for an embedding of that width.

    Raises ValueError for another kind and RuntimeError for weights of other sizes.
    """
    options = {**spec}
    if (kind := options.pop("kind", None)) != "avsl":
        raise ValueError(f"a graph of nodes is of kind avsl, the file says {kind!r}")
    settings = GraphSettings(**options)
    channels = level_widths(backbone, settings.levels)
    projections = [nn.Linear(c, width) for c in channels[:-1]]
    graph = NodeGraph(projections, Gates(width, len(channels), settings))
    graph.load_state_dict(dict(weights))
    return graph
