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
    def nearest(self, batches: Iterable[Tensor], k: int) -> Tensor:
        """Return the k nearest others of each image, best first: (G, k) int64, on the CPU.

        Called in evaluation mode; the similarity is that of the saved model.
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

    def nearest(self, batches: Iterable[Tensor], k: int) -> Tensor:
        """Nearest others (G, k) int64, by cosine."""
        return cosine_neighbors(torch.cat([self(batch).float() for batch in batches]), k)

    def save(self, folder: Path, preprocessing: Preprocessing) -> None:
        """Write config.json and model.safetensors."""
        save_folder(LoadedModel(self.network, preprocessing, self.name), folder)


def cosine_neighbors(embeddings: Tensor, k: int) -> Tensor:
    """Return the k nearest others of each embedding (G, D) by cosine, best first: (G, k) int64, on the CPU.

    Raises TrainingError for NaN and infinity.
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
