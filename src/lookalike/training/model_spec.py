"""The start model and the loss of a training, by name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from lookalike.models.loading import load_model
from lookalike.training.avsl import AvslObjective, AvslSettings, TrainableAvsl
from lookalike.training.losses import LOSSES, EmbeddingLoss
from lookalike.training.objective import Objective
from lookalike.training.settings import TrainSettings
from lookalike.training.trainable import Trainable, TrainableEmbedding


@dataclass(frozen=True)
class ModelSpec:
    """A start model and a loss on its embeddings."""

    model: str = "mini"  # any model of ``Embedder.load`` except ONNX
    pooling: str | None = None  # instead of the model's own
    loss: str = "proxy-anchor"  # one of ``LOSSES``
    dims: int = 512  # of the embedding; 0: those of the model, without a new layer
    avsl: AvslSettings | None = None  # nodes at three levels and their losses, instead of pooling and loss

    def __post_init__(self) -> None:
        if self.dims < 0:
            raise ValueError(f"dims is 1 or more, or 0 for those of the model; got {self.dims}")
        if self.avsl is not None and not self.dims:
            raise ValueError("AVSL has its own projections, so dims is 1 or more; got 0")

    @property
    def compares_images(self) -> bool:
        """Whether the loss compares images with each other, rather than with proxies."""
        if self.avsl is not None:
            return self.avsl.base == "margin"
        return self.loss in LOSSES and LOSSES[self.loss].compares_images

    def default_settings(self, settings: TrainSettings | None = None) -> TrainSettings:
        """Return the settings, with 4 images per class if the loss compares images and none are set."""
        settings = settings or TrainSettings()
        if self.compares_images and not settings.images_per_class:
            return replace(settings, images_per_class=4)
        return settings

    def to_dict(self) -> dict[str, Any]:
        """Return the spec in JSON types."""
        return {**asdict(self), "avsl": None if self.avsl is None else self.avsl.to_dict()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ModelSpec:
        """Make a spec from what ``to_dict`` returned. Raises ValueError for unknown keys."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"unknown fields of a model spec: {', '.join(unknown)}")
        avsl = values.get("avsl")
        return cls(**{**values, "avsl": None if avsl is None else AvslSettings.from_dict(avsl)})

    def build(self, n_classes: int, settings: TrainSettings) -> tuple[Trainable, Objective]:
        """Load the start model and build the network and its objective, for ``n_classes`` classes.

        Raises UnknownModelError, CheckpointError, ValueError for an unknown loss, and, for AVSL,
        UnsupportedMethodError if the backbone does not have three feature levels.
        """
        start = load_model(self.model, pooling=self.pooling)
        if self.avsl is not None:
            nodes = TrainableAvsl.of(start, self.avsl, dims=self.dims, seed=settings.seed)
            gates = nodes.network.gates
            return nodes, AvslObjective(gates, self.avsl, n_classes=n_classes, seed=settings.seed)
        model = TrainableEmbedding.of(start, dims=self.dims or None, seed=settings.seed)
        objective = EmbeddingLoss(
            self.loss, n_classes=n_classes, dims=model.dims, memory=settings.memory, seed=settings.seed
        )
        return model, objective
