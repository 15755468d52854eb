"""Settings that determine the training of a re-ranker, saved beside its weights."""

from __future__ import annotations

import json
import math
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
    """Settings of a re-ranker's training; defaults are those of CSA's experiments.

    Ouyang et al., NeurIPS 2021, as their code runs its two experiment scripts: four devices with 64 queries
    each, and a rate of 0.1 that the code scales by 64 / 256. Raises ValueError, naming the field, for
    values out of range.
    """

    method: Method = "published"  # input of the network: cosines, or standardized views of them
    lists: Lists = "whole"  # each image against all others, or against random subsets of them
    epochs: int = 100  # how often each list is learned from
    steps: int = 0  # number of steps, instead of epochs; 0: those of the epochs
    batch_size: int = 256  # queries a step, over all processes together
    candidates: int = 511  # K, of a query's list
    n_anchors: int = 512  # L, the query among them; a third of it in each view of method expanded
    width: int = 768
    depth: int = 2
    heads: int = 12
    hidden: int = 3072
    dropout: float = 0.1
    drop_path: float = 0.1  # probability of leaving out the last block's branches; 0 in the first block
    neighbors: int = 5  # for method expanded: of each item's expansion
    alpha: float = 3.0
    loss: Loss = "contrastive"
    temperature: float = 2.0
    reconstruction: float = 0.2  # weight of the reconstruction loss
    optimizer: RerankerOptimizer = "sgd"
    rate: float = 0.025  # the largest learning rate
    warm_up: float = 0.2  # part of the steps in which the rate rises; then it falls to zero along a cosine
    warm_up_from: float = 0.01  # part of the largest rate that the first step has
    momentum: float = 0.9
    weight_decay: float = 1e-6  # of matrices only
    clip: float = 0.0  # largest norm of the gradient; 0: no clipping, as in the scripts
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
        for name in ("epochs", "batch_size", "candidates", "n_anchors", "width", "depth", "heads", "hidden",
                     "neighbors"):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 or more, got {getattr(self, name)}")
        for name in ("steps", "alpha", "reconstruction", "momentum", "weight_decay", "clip",
                     "seed"):  # fmt: skip
            if not getattr(self, name) >= 0:  # also refuses NaN
                raise ValueError(f"{name} is 0 or more, got {getattr(self, name)}")
        for name in ("temperature", "rate"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is above 0, got {getattr(self, name)}")
        for name in ("dropout", "drop_path"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is a probability below 1, got {getattr(self, name)}")
        for name in ("warm_up", "warm_up_from"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a part, from 0 to 1; got {getattr(self, name)}")

    def n_steps(self, n_lists: int) -> int:
        """Number of steps of a training on so many lists; the last batch of an epoch may be smaller."""
        return self.steps or self.epochs * math.ceil(n_lists / self.batch_size)

    def rate_at(self, step: int, n_steps: int) -> float:
        """Learning rate of a step: it rises along a line, both ends included, and falls along a cosine."""
        n_rising = round(self.warm_up * n_steps)
        if step < n_rising:
            risen = step / max(n_rising - 1, 1)
            return self.rate * (self.warm_up_from + (1 - self.warm_up_from) * risen)
        return self.rate * 0.5 * (1 + math.cos(math.pi * (step - n_rising) / max(n_steps - n_rising, 1)))

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
