"""Settings that determine a training, saved beside its weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from lookalike.training.checked import checked_values

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["constant", "step", "cosine"]
TrainingPrecision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a training; defaults are those of Proxy-Anchor (Kim et al., CVPR 2020) and AVSL's data.

    Two trainings with the same settings, data and start model on the same hardware give the same model.
    Raises ValueError, naming the field, for values out of range.
    """

    epochs: int = 40
    batch_size: int = 180  # images per step, over all processes
    images_per_class: int = 0  # of each class in a batch; 0: images are drawn regardless of class
    optimizer: Optimizer = "adamw"
    backbone_rate: float = 1e-4  # learning rates
    head_rate: float = 1e-4
    loss_rate: float = 1e-2  # of the objective's own parameters: proxies, centers, margins
    gate_rate: float = 0.0  # of AVSL's gates, which belong to the objective; 0: loss_rate
    weight_decay: float = 1e-4
    schedule: Schedule = "step"
    step_epochs: int = 10  # for schedule step: epochs between drops, counted after the warm-up
    step_factor: float = 0.5  # factor of the learning rates at each drop
    warm_up_epochs: int = 1  # first epochs, in which the backbone is frozen
    frozen: tuple[str, ...] = ()  # prefixes of parameter names of the backbone that never learn
    freeze_batch_norm: bool = True  # BatchNorm keeps statistics, weight and bias of the start model
    clip: float = 10.0  # largest norm of the gradient of each part: backbone, head, loss; 0: no clipping
    precision: TrainingPrecision = "fp32"  # of the forward pass; weights are always fp32
    memory: int = 0  # embeddings of past batches that losses on pairs compare with, too
    input_size: tuple[int, int] = (224, 224)  # (H, W) pixels
    crop_pct: float = 0.875  # evaluation crops the center of an image of input_size / crop_pct
    crop_area: tuple[float, float] = (0.16, 1.0)  # share of that image that a random crop covers
    flip: float = 0.5  # probability of mirroring
    evaluate_every: int = 1  # epochs from one evaluation to the next, from epoch 1 on; 0: only at the end
    recalls: tuple[int, ...] = (1, 2, 4, 8)  # values of K of Recall@K in evaluations
    clustering: bool = False  # evaluations report NMI, AMI and F1 of clusters, too
    patience: int = 0  # epochs without a gain of the first recall after which training stops; 0: no end
    collapse: float = 0.0  # training stops at this share of the best of the first recall; 0: no end
    keep_best: bool = False  # the model is that of the best evaluation, not of the last epoch
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (
            ("optimizer", Optimizer),
            ("schedule", Schedule),
            ("precision", TrainingPrecision),
        ):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} is {', '.join(get_args(choices))}; got {getattr(self, name)!r}")
        for name in ("epochs", "batch_size", "step_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 or more, got {getattr(self, name)}")
        for name in (
            "images_per_class", "backbone_rate", "head_rate", "loss_rate", "gate_rate", "weight_decay",
            "warm_up_epochs", "clip", "memory", "evaluate_every", "step_factor", "patience", "seed",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:  # also refuses NaN
                raise ValueError(f"{name} is 0 or more, got {getattr(self, name)}")
        if self.images_per_class and self.batch_size % self.images_per_class:
            raise ValueError(
                f"batch_size is a multiple of images_per_class, got {self.batch_size} and "
                f"{self.images_per_class}"
            )
        if not self.recalls or min(self.recalls) < 1:
            raise ValueError(f"recalls are whole numbers of 1 or more, got {self.recalls}")
        if not 0 <= self.collapse < 1:
            raise ValueError(f"collapse is a share in [0, 1), got {self.collapse}")
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_area is two numbers in (0, 1], rising; got {self.crop_area}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability, got {self.flip}")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings in JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """Make settings from what ``to_dict`` returned. Raises ValueError for unknown keys and bad values."""
        return cls(**checked_values(cls, values, "training"))
