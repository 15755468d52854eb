"""Training of AVSL: an image's nodes at three levels, and the four losses on their distances.

Zhang et al., *Attributable Visual Similarity Learning*, CVPR 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, final, get_args

import torch
from torch import Tensor, nn

from lookalike.images import Preprocessing
from lookalike.models.avsl_network import AvslNetwork, Gates, GraphSettings, NodeGraph
from lookalike.models.backbones import N_LEVELS, LevelChoice
from lookalike.models.borrowed import Borrowed
from lookalike.models.saving import LoadedModel, save_folder
from lookalike.ops.avsl import (
    Nodes,
    final_distances,
    hard_triplets,
    level_distances,
    map_cosines,
    margin_loss,
    proxy_anchor_loss,
)
from lookalike.ops.compared import ComparedNodes
from lookalike.training.checked import checked_values
from lookalike.training.objective import Objective, Output
from lookalike.training.trainable import Trainable, refuse_nan

MANY_CLASSES = 1000  # above this only proxies of the batch's own classes are compared with
BaseLoss = Literal["proxy-anchor", "margin"]


@dataclass(frozen=True)
class AvslSettings:
    """Settings that AVSL adds to a training; defaults are those published for CUB and Cars.

    Distances are squared, of unit nodes, and so in [0, 4]. Raises ValueError for values out of range.
    """

    base: BaseLoss = "proxy-anchor"  # margin: between the images of a batch, with hard negatives
    level_weights: tuple[float, ...] = (
        0.5,
        1.0,
        0.5,
    )  # of the losses, low to high level; that of the final loss is 1
    positive_margin: float = 1.8  # proxy-anchor, at the levels
    negative_margin: float = 2.2
    final_positive_margin: float = 1.8  # proxy-anchor, on the final distance
    final_negative_margin: float = 2.2
    loss_sharpness: float = 16.0
    margin: float = 0.2  # margin loss: half the width of the band around the boundary
    boundary: float = 1.2  # of each class at the start
    cutoff: float = 0.5  # distance below which negatives are equally hard
    top_k: int = 128  # links of a node
    sharpness: float = 10.0  # of the gates
    power: float = 2.0
    momentum: float = 0.5  # of the links
    levels: LevelChoice = "resolutions"  # as published; last: the last two stages and the head's convolution

    def __post_init__(self) -> None:
        if self.base not in get_args(BaseLoss):
            raise ValueError(f"base is {' or '.join(get_args(BaseLoss))}, got {self.base!r}")
        if len(self.level_weights) != N_LEVELS or min(self.level_weights) < 0:
            raise ValueError(f"level_weights are {N_LEVELS} numbers of 0 or more, got {self.level_weights}")
        self.checked_graph()

    def checked_graph(self) -> GraphSettings:
        """The settings of the graph, which are saved with the model; raises ValueError for invalid ones."""
        return GraphSettings(self.top_k, self.sharpness, self.power, self.momentum, self.levels)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> AvslSettings:
        """Make settings from JSON types. Raises ValueError for unknown keys."""
        return cls(**checked_values(cls, values, "AVSL"))

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in JSON types."""
        return {**asdict(self), "level_weights": list(self.level_weights)}


@final
class TrainableAvsl(Trainable):
    """Backbone and projections in training; the gates learn with the objective.

    An evaluation compares every image with every other by the inferred distance.
    """

    def __init__(self, network: AvslNetwork, preprocessing: Preprocessing, name: str) -> None:
        super().__init__()
        network.requires_grad_(True)
        self.backbone = network.backbone
        self.projections = network.projections
        self.preprocessing, self.name = preprocessing, name
        self._network = Borrowed(network)  # its gates are parameters of the objective only

    @property
    def network(self) -> AvslNetwork:
        """The whole model, including the gates."""
        return self._network.module

    @classmethod
    def of(
        cls, start: LoadedModel, settings: AvslSettings, *, dims: int = 512, seed: int = 0
    ) -> TrainableAvsl:
        """Add projections to ``dims`` nodes to a model's backbone; an AVSL model is continued as it is.

        Raises UnsupportedMethodError for a backbone without three feature levels, ValueError for an AVSL
        model with other settings.
        """
        if isinstance(start.network.graph, NodeGraph):
            network = AvslNetwork.of(start.network)
            if network.gates.settings != settings.checked_graph():
                raise ValueError(
                    f"{start.name} is an AVSL model with {network.gates.settings}; it can't be continued "
                    f"with {settings.checked_graph()}; give the same settings"
                )
        else:
            network = AvslNetwork.new(start.network.backbone, dims, settings.checked_graph(), seed=seed)
        return cls(network, start.preprocessing, start.name)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Embeddings and certainties of each level, (B, D) each.

        In training also the correlations of neighboring levels' maps, (1, D, D) each.
        """
        levels = self.network(images)
        nodes, maps = levels.nodes, levels.maps
        outputs = (*nodes.embeddings, *nodes.certainties)
        if not self.training:
            return outputs
        with torch.no_grad():
            return *outputs, *(map_cosines(low, high)[None] for low, high in pairwise(maps))

    @torch.no_grad()
    def compared(self, batches: Iterable[Tensor]) -> ComparedNodes:
        """The images by the inferred distance, computed where the training runs."""
        nodes = Nodes.joined([nodes_of(self(batch)) for batch in batches])
        refuse_nan(nodes.embeddings[-1])
        device = nodes.embeddings[-1].device
        return ComparedNodes(nodes, self.network.gates.graph().to(device))

    def save(self, folder: Path, preprocessing: Preprocessing) -> None:
        """Write a folder with the embedder of the highest level and the graph."""
        save_folder(LoadedModel(self.network.embedder_network(), preprocessing, self.name), folder)


@final
class AvslObjective(Objective):
    """The losses of the three levels and of the final distance; updates gates and links."""

    def __init__(self, gates: Gates, settings: AvslSettings, *, n_classes: int, seed: int = 0) -> None:
        super().__init__()
        self.gates, self.settings = gates, settings
        width = len(gates.coefficients[0])
        if settings.base == "proxy-anchor":
            generator = torch.Generator().manual_seed(seed)
            self.proxies = nn.ParameterList(_proxies(n_classes, width, generator) for _ in range(N_LEVELS))
        else:
            starts = (torch.full((n_classes,), settings.boundary) for _ in range(N_LEVELS + 1))
            self.boundaries = nn.ParameterList(nn.Parameter(start) for start in starts)

    def forward(self, output: Output, labels: Tensor) -> dict[str, Tensor]:
        """Loss terms ``final`` and ``level_0`` to ``level_2``, each times its weight."""
        nodes = nodes_of(output)
        self.gates.update([correlation.mean(0) for correlation in output[2 * N_LEVELS :]])
        losses = self._proxy_losses if self.settings.base == "proxy-anchor" else self._margin_losses
        *levels, final = losses(nodes, labels)
        weighted = zip(levels, self.settings.level_weights, strict=True)
        return {"final": final} | {f"level_{i}": loss * weight for i, (loss, weight) in enumerate(weighted)}

    def gate_parameters(self) -> list[nn.Parameter]:
        """Coefficients and biases of the gates."""
        return list(self.gates.parameters())

    def _proxy_losses(self, images: Nodes, labels: Tensor) -> list[Tensor]:
        settings = self.settings
        n_classes = len(self.proxies[0])
        few = n_classes <= MANY_CLASSES
        classes = torch.arange(n_classes, device=labels.device) if few else torch.unique(labels)
        proxies = Nodes(
            tuple(proxy if few else proxy[classes] for proxy in self.proxies),
            tuple(c.mean().expand(len(classes), c.shape[1]) for c in images.certainties),
        )
        margins = [(settings.positive_margin, settings.negative_margin)] * N_LEVELS
        margins.append((settings.final_positive_margin, settings.final_negative_margin))
        return [
            proxy_anchor_loss(
                distances,
                labels,
                classes,
                positive_margin=positive,
                negative_margin=negative,
                sharpness=settings.loss_sharpness,
            )
            for distances, (positive, negative) in zip(self._distances(images, proxies), margins, strict=True)
        ]

    def _margin_losses(self, images: Nodes, labels: Tensor) -> list[Tensor]:
        return [
            margin_loss(
                distances,
                hard_triplets(distances, labels, cutoff=self.settings.cutoff),
                boundaries[labels],
                margin=self.settings.margin,
            )
            for distances, boundaries in zip(self._distances(images, images), self.boundaries, strict=True)
        ]

    def _distances(self, images: Nodes, others: Nodes) -> list[Tensor]:
        """Distances at each level, and the final ones."""
        pairs = zip(images.embeddings, others.embeddings, strict=True)
        levels = [level_distances(a, b, self.settings.power) for a, b in pairs]
        return [*levels, final_distances(images, others, self.gates.graph())]


def nodes_of(output: Output) -> Nodes:
    """Return the nodes in the output of a ``TrainableAvsl``."""
    return Nodes(tuple(output[:N_LEVELS]), tuple(output[N_LEVELS : 2 * N_LEVELS]))


def _proxies(n_classes: int, width: int, generator: torch.Generator) -> nn.Parameter:
    proxies = torch.empty(n_classes, width)
    nn.init.kaiming_normal_(proxies, a=math.sqrt(5), generator=generator)
    return nn.Parameter(proxies)
