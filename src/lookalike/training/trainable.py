"""What a training changes: a network that knows its backbone, its neighbors and its folder."""

from __future__ import annotations

import abc
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.errors import TrainingError
from lookalike.images import Preprocessing
from lookalike.models.network import EmbeddingNetwork
from lookalike.models.saving import LoadedModel, save_folder
from lookalike.training.objective import Output

_BLOCK = 512  # queries whose similarities are in memory at a time


class Trainable(nn.Module, abc.ABC):
    """A network in training.

    ``backbone`` is the part that brings its weights along: it learns at ``backbone_rate`` and stands
    still in the warm-up; the rest of the module is the head and learns at ``head_rate``.
    """

    preprocessing: Preprocessing  # normalization of the start model; the sizes come from the settings
    backbone: nn.Module

    @abc.abstractmethod
    def forward(self, images: Tensor) -> Output:
        """What the objective takes, of normalized images (B, 3, H, W)."""

    @abc.abstractmethod
    def nearest(self, batches: Iterable[Tensor], k: int) -> Tensor:
        """For each image of the batches its k nearest others, best first: (G, k) int64, on the CPU.

        Called in evaluation mode; the similarity is the one that the saved model will be used with.
        """

    @abc.abstractmethod
    def save(self, folder: Path, preprocessing: Preprocessing) -> None:
        """Write the model as a folder that ``Embedder.load`` reads."""


class TrainableEmbedding(Trainable):
    """Backbone, pooling and head of an embedder, compared by cosine."""

    def __init__(self, network: EmbeddingNetwork, preprocessing: Preprocessing, name: str) -> None:
        super().__init__()
        self.network = network.requires_grad_(True)
        self.backbone = network.backbone
        self.preprocessing = preprocessing
        self.name = name

    @classmethod
    def of(cls, start: LoadedModel, *, dims: int | None = None, seed: int = 0) -> TrainableEmbedding:
        """A loaded model with a new affine layer to ``dims`` at its end, or as it is.

        The layer starts like that of Proxy-Anchor's code: He normal over the outgoing side, bias 0.
        """
        network = start.network
        if dims is not None:
            head = nn.Sequential(*network.head, _new_layer(_width(start), dims, seed))
            network = EmbeddingNetwork(
                network.backbone, network.pooling, head, own_layers=network.own_layers, is_own=network.is_own
            )
        return cls(network, start.preprocessing, start.name)

    @property
    def dims(self) -> int:
        """Width of the embedding."""
        return _width(LoadedModel(self.network, self.preprocessing, self.name))

    def forward(self, images: Tensor) -> Tensor:
        """Embeddings (B, D), before the last L2 normalization."""
        result: Tensor = self.network(images)
        return result

    def nearest(self, batches: Iterable[Tensor], k: int) -> Tensor:
        """(G, k), by cosine."""
        return cosine_neighbors(torch.cat([self(batch).float() for batch in batches]), k)

    def save(self, folder: Path, preprocessing: Preprocessing) -> None:
        """Write config.json and model.safetensors."""
        save_folder(LoadedModel(self.network, preprocessing, self.name), folder)


def cosine_neighbors(embeddings: Tensor, k: int) -> Tensor:
    """Of each embedding (G, D) the k nearest others by cosine, best first: (G, k) on the CPU.

    Raises TrainingError for embeddings that are not numbers any more.
    """
    refuse_nan(embeddings)
    units = F.normalize(embeddings, dim=1)
    nearest = []
    for start in range(0, len(units), _BLOCK):
        similarity = units[start : start + _BLOCK] @ units.T
        rows = torch.arange(len(similarity), device=units.device)
        similarity[rows, rows + start] = -torch.inf  # an image is no neighbor of itself
        nearest.append(similarity.topk(k).indices.cpu())
    return torch.cat(nearest)


def refuse_nan(embeddings: Tensor) -> None:
    """Raise TrainingError where a training has diverged: no metric of such embeddings means anything."""
    if not embeddings.isfinite().all():
        raise TrainingError(
            "the embeddings are NaN or infinite, so the training diverged; start it anew with lower "
            "learning rates"
        )


def _new_layer(channels: int, dims: int, seed: int) -> nn.Linear:
    layer = nn.Linear(channels, dims)
    generator = torch.Generator().manual_seed(seed)
    nn.init.kaiming_normal_(layer.weight, mode="fan_out", generator=generator)
    nn.init.zeros_(layer.bias)
    return layer


@torch.inference_mode()
def _width(loaded: LoadedModel) -> int:
    image = torch.zeros(1, 3, *loaded.preprocessing.input_size)
    return int(loaded.network.eval()(image).shape[1])
