"""Networks in training, with their backbone, nearest neighbors and saving."""

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
from lookalike.ops.compared import Compared, ComparedUnits
from lookalike.ops.neighbors import largest_k
from lookalike.training.objective import Output

_BLOCK = 512  # queries per block of similarities


class Trainable(nn.Module, abc.ABC):
    """A network in training.

    ``backbone`` is the pretrained part: it learns at ``backbone_rate`` and is frozen during the warm-up.
    The rest of the module is the head and learns at ``head_rate``.
    """

    preprocessing: Preprocessing  # normalization of the start model; the sizes come from the settings
    backbone: nn.Module

    @abc.abstractmethod
    def forward(self, images: Tensor) -> Output:
        """Return the input of the objective for normalized images (B, 3, H, W) float32."""

    @abc.abstractmethod
    def compared(self, batches: Iterable[Tensor]) -> Compared:
        """Return all images of the batches, to be compared as the saved model compares them.

        Called in evaluation mode. Raises TrainingError for NaN and infinity.
        """

    def nearest(self, batches: Iterable[Tensor], k: int) -> Tensor:
        """Return the k nearest others of each image, best first: (G, k) int64, on the CPU."""
        return nearest_others(self.compared(batches), k)

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
        """Make a loaded model trainable, with a new last affine layer to ``dims`` unless None.

        The layer is initialized as in Proxy-Anchor's code: He normal by fan-out, bias 0.
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

    def compared(self, batches: Iterable[Tensor]) -> ComparedUnits:
        """The images by the cosine of their embeddings."""
        return _units(torch.cat([self(batch).float() for batch in batches]))

    def save(self, folder: Path, preprocessing: Preprocessing) -> None:
        """Write config.json and model.safetensors."""
        save_folder(LoadedModel(self.network, preprocessing, self.name), folder)


def cosine_neighbors(embeddings: Tensor, k: int) -> Tensor:
    """Return the k nearest others of each embedding (G, D) by cosine, best first: (G, k) int64, on the CPU.

    Raises TrainingError for NaN and infinity.
    """
    return nearest_others(_units(embeddings), k)


def nearest_others(items: Compared, k: int) -> Tensor:
    """Return the k most similar others of each item, best first, equals by their row: (G, k) int64."""
    nearest = []
    for rows in torch.split(torch.arange(len(items)), _BLOCK):
        similarity = items.similarities(rows, items)
        similarity[torch.arange(len(rows)), rows] = -torch.inf  # an image is no neighbor of itself
        nearest.append(largest_k(similarity, k)[1])
    return torch.cat(nearest)


def _units(embeddings: Tensor) -> ComparedUnits:
    refuse_nan(embeddings)
    return ComparedUnits(F.normalize(embeddings, dim=1))


def refuse_nan(embeddings: Tensor) -> None:
    """Raise TrainingError for NaN and infinity, which a diverged training gives."""
    if not embeddings.isfinite().all():
        raise TrainingError(
            "the embeddings are NaN or infinite, so the training diverged; restart it with lower "
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
