"""What a training starts from and what it minimises, by name, as the command line asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from lookalike.loading import load_model
from lookalike.training.losses import EmbeddingLoss
from lookalike.training.objective import Objective
from lookalike.training.settings import TrainSettings
from lookalike.training.trainable import Trainable, TrainableEmbedding


@dataclass(frozen=True)
class Subject:
    """A start model and a loss on its embeddings."""

    model: str = "mini"  # whatever ``Embedder.load`` takes, but for ONNX
    pooling: str | None = None  # instead of the model's own
    loss: str = "proxy-anchor"  # one of ``LOSSES``
    dims: int = 512  # of the embedding; 0: the model's own, without a new layer

    def __post_init__(self) -> None:
        if self.dims < 0:
            raise ValueError(f"dims is 1 or more, or 0 for the model's own; got {self.dims}")

    def to_dict(self) -> dict[str, Any]:
        """As JSON types."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Subject:
        """What ``to_dict`` wrote; ValueError for unknown keys."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"unknown parts of a training: {', '.join(unknown)}")
        return cls(**values)

    def build(self, n_classes: int, settings: TrainSettings) -> tuple[Trainable, Objective]:
        """The network and its objective, for so many classes.

        Raises UnknownModelError, CheckpointError, and ValueError for an unknown loss.
        """
        start = load_model(self.model, pooling=self.pooling)
        model = TrainableEmbedding.of(start, dims=self.dims or None, seed=settings.seed)
        objective = EmbeddingLoss(
            self.loss, n_classes=n_classes, dims=model.dims, memory=settings.memory, seed=settings.seed
        )
        return model, objective
