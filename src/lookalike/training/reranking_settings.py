"""All that decides how a re-ranker is trained, saved beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

Method = Literal["published", "expanded"]
Lists = Literal["whole", "drawn"]
Loss = Literal["contrastive", "contrastive-others", "ranking"]
Optimizer = Literal["sgd", "adamw"]
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class RerankerSettings:
    """Defaults are CSA's (Ouyang et al., NeurIPS 2021), but for a shorter training.

    Raises ValueError, naming the field, for values that make no sense.
    """

    method: Method = "published"  # what the network sees: cosines, or standardized views of them
    lists: Lists = "whole"  # each image against all others, or against freshly drawn parts of them
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
    optimizer: Optimizer = "sgd"
    rate: float = 0.1  # the largest learning rate
    warm_up: int = 100  # steps in which the rate rises to it; then it falls along a cosine to zero
    momentum: float = 0.9
    weight_decay: float = 1e-4
    clip: float = 1.0  # largest length of the gradient; 0: as it is
    precision: Precision = "fp32"  # of the network; weights are fp32 always
    variation: bool = False  # for drawn lists: descriptors are changed at random, see reranking_variation
    seed: int = 0

    def __post_init__(self) -> None:
        choices = {
            "method": Method,
            "lists": Lists,
            "loss": Loss,
            "optimizer": Optimizer,
            "precision": Precision,
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise ValueError(f"{name} is {', '.join(get_args(allowed))}; got {getattr(self, name)!r}")
        for name in ("steps", "batch_size", "candidates", "n_anchors", "width", "depth", "heads", "hidden",
                     "neighbors"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 or more, got {getattr(self, name)}")
        for name in ("alpha", "reconstruction", "rate", "warm_up", "momentum", "weight_decay", "clip"):
            if not getattr(self, name) >= 0:  # also refuses NaN
                raise ValueError(f"{name} is 0 or more, got {getattr(self, name)}")
        if not self.temperature > 0:
            raise ValueError(f"temperature is above 0, got {self.temperature}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout is a probability below 1, got {self.dropout}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> RerankerSettings:
        """What ``to_dict`` wrote; ValueError for unknown keys and values that make no sense."""
        if unknown := sorted(set(values) - {field.name for field in fields(cls)}):
            raise ValueError(f"unknown settings of a re-ranker's training: {', '.join(unknown)}")
        return cls(**values)
