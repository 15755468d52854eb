"""Settings that determine the training of a re-ranker, saved beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

from lookalike.training.settings import TrainingPrecision

Method = Literal["published", "expanded"]
Lists = Literal["whole", "drawn"]
Loss = Literal["contrastive", "contrastive-others", "ranking"]
RerankerOptimizer = Literal["sgd", "adamw"]


@dataclass(frozen=True)
class RerankerSettings:
    """Settings of a re-ranker's training; defaults are those of CSA (Ouyang et al., NeurIPS 2021), shortened.

    Raises ValueError, naming the field, for values out of range.
    """

    method: Method = "published"  # input of the network: cosines, or standardized views of them
    lists: Lists = "whole"  # each image against all others, or against random subsets of them
    steps: int = 2000
    batch_size: int = 64  # queries a step, over all processes together
    candidates: int = 511  # K, of a query's list
    n_anchors: int = 512  # L, the query among them; a third of it in each view of method expanded
    width: int = 768
    depth: int = 2
    heads: int = 12
    hidden: int = 3072
    dropout: float = 0.1
    neighbors: int = 5  # for method expanded: of each item's expansion
    alpha: float = 3.0
    loss: Loss = "contrastive"
    temperature: float = 2.0
    reconstruction: float = 0.5  # weight of the reconstruction loss
    optimizer: RerankerOptimizer = "sgd"
    rate: float = 0.1  # the largest learning rate
    warm_up: int = 100  # steps in which the rate rises to it; then it falls to zero along a cosine
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 1.0  # largest norm of the gradient; 0: no clipping
    precision: TrainingPrecision = "fp32"  # of the forward pass; weights are always fp32
    variation: bool = False  # for drawn lists: perturb descriptors at random, see reranking_variation
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "method": Method,
            "lists": Lists,
            "loss": Loss,
            "optimizer": RerankerOptimizer,
            "precision": TrainingPrecision,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} is {', '.join(get_args(allowed))}; got {getattr(self, name)!r}")
        for name in ("steps", "batch_size", "candidates", "n_anchors", "width", "depth", "heads", "hidden",
                     "neighbors"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 or more, got {getattr(self, name)}")
        for name in ("alpha", "reconstruction", "rate", "warm_up", "momentum", "weight_decay", "clip",
                     "seed"):  # fmt: skip
            if not getattr(self, name) >= 0:  # also refuses NaN
                raise ValueError(f"{name} is 0 or more, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is above 0, got {self.temperature}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {self.dropout}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RerankerSettings:
        """Make settings from what ``to_dict`` returned. Raises ValueError for unknown keys and bad values."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"unknown settings of a re-ranker's training: {', '.join(unknown)}")
        return cls(**values)
