"""All that decides how a training goes, in one frozen record that is saved beside the weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

from lookalike.training.checked import checked_values

Optimizer = Literal["adamw", "adam", "sgd"]
Schedule = Literal["constant", "step", "cosine"]
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class TrainSettings:
    """Defaults are those of Proxy-Anchor (Kim et al., CVPR 2020) and of AVSL's data pipeline.

    Two trainings with the same settings, data and start model on the same hardware are the same.
    Raises ValueError, naming the field, for values that make no sense.
    """

    epochs: int = 40
    batch_size: int = 180  # images a step, over all processes together
    images_per_class: int = 0  # of each class drawn for a batch; 0: images are drawn, not classes
    optimizer: Optimizer = "adamw"
    backbone_rate: float = 1e-4  # learning rates
    head_rate: float = 1e-4
    loss_rate: float = 1e-2  # of the objective's own parameters: proxies, centers, margins
    weight_decay: float = 1e-4
    schedule: Schedule = "step"
    step_epochs: int = 10  # for schedule step: epochs between falls
    step_factor: float = 0.5  # what a learning rate is multiplied by at each
    warm_up_epochs: int = 1  # first epochs, in which the backbone stands still
    frozen: tuple[str, ...] = ()  # parts of the backbone that never learn, by the start of their names
    freeze_batch_norm: bool = True  # BatchNorm keeps the statistics of the start model
    clip: float = 10.0  # largest length of the gradient; 0: as it is
    precision: Precision = "fp32"  # of the forward pass; weights are fp32 always
    memory: int = 0  # embeddings of past batches that pair losses compare with as well; 0: none
    input_size: tuple[int, int] = (224, 224)  # (H, W) pixels
    crop_pct: float = 0.875  # evaluation cuts the center out of a picture of input_size / crop_pct
    crop_area: tuple[float, float] = (0.16, 1.0)  # share of that picture that a random crop covers
    flip: float = 0.5  # probability of mirroring
    evaluate_every: int = 1  # epochs between evaluations; 0: only at the end
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("optimizer", Optimizer), ("schedule", Schedule), ("precision", Precision)):
            if getattr(self, name) not in get_args(choices):
                raise ValueError(f"{name} is {', '.join(get_args(choices))}; got {getattr(self, name)!r}")
        for name in ("epochs", "batch_size", "step_epochs"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is 1 or more, got {getattr(self, name)}")
        for name in (
            "images_per_class", "backbone_rate", "head_rate", "loss_rate", "weight_decay",
            "warm_up_epochs", "clip", "memory", "evaluate_every", "step_factor", "seed",
        ):  # fmt: skip
            if not getattr(self, name) >= 0:  # also refuses NaN
                raise ValueError(f"{name} is 0 or more, got {getattr(self, name)}")
        if self.images_per_class and self.batch_size % self.images_per_class:
            raise ValueError(
                f"batch_size is a multiple of images_per_class, got {self.batch_size} and "
                f"{self.images_per_class}"
            )
        low, high = self.crop_area
        if not 0 < low <= high <= 1:
            raise ValueError(f"crop_area is two numbers in (0, 1], rising; got {self.crop_area}")
        if not 0 <= self.flip <= 1:
            raise ValueError(f"flip is a probability, got {self.flip}")

    def to_dict(self) -> dict[str, Any]:
        """The settings as JSON types."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainSettings:
        """What ``to_dict`` wrote; ValueError for unknown keys and values that make no sense."""
        return cls(**checked_values(cls, values, "training"))
