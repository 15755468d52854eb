"""Settings of a distillation, read from JSON and saved beside the model that they make."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class StudentSettings:
    """The student's network, by its timm name."""

    architecture: str
    kind: str  # "convolutional" or "transformer"
    options: dict[str, Any] = field(default_factory=dict)  # of the network as it ships
    training_options: dict[str, Any] = field(default_factory=dict)  # what differs while it is trained
    input_size: tuple[int, int] = (160, 160)  # (H, W) pixels
    dims: int = 256


@dataclass(frozen=True)
class HintSettings:
    """A block of a transformer student that learns what one of the teacher's stages says."""

    block: int
    teacher_stage: int
    channels: int  # principal components kept of the stage
    stem_of: str  # bundled model whose convolutional stem is taken over and kept frozen


@dataclass(frozen=True)
class BlockSettings:
    """Length of the first part, in which the blocks are trained one after the other."""

    early: int = 6  # blocks trained on crops, without mixtures of features
    early_pictures: int = 4000
    early_steps: int = 1600
    late_steps: int = 6000
    early_batch: int = 24
    late_batch: int = 32
    learning_rate: float = 0.015
    warm_up: int = 100  # steps
    decay: float = 0.6
    n_augmented: int = 10_000  # pictures, beside the photographs as they are


@dataclass(frozen=True)
class Settings:
    """The whole recipe in numbers. Weights of losses at 0 leave the loss out."""

    name: str
    student: StudentSettings
    steps: int
    warm_up: int  # steps of rising learning rate
    decay: float  # fraction of the steps, at the end, over which the learning rate falls to zero
    n_fresh: int  # new pictures a step; as many are shown again
    learning_rate: float
    weight_decay: float
    betas: tuple[float, float]
    teacher_size: tuple[int, int]  # (H, W) pixels of the pictures as the teacher sees them
    stage_weight: float
    blocks: BlockSettings | None = None
    hint: HintSettings | None = None
    n_framed: int = 0  # of the new pictures, shown in a frame on a wall as well
    framed_weight: float = 0.0
    n_room_pairs: int = 0  # a step
    rooms_weight: float = 0.0
    outside_weight: float = 0.0
    averaging: float = 0.995  # of the exported weights, an exponential moving average
    whitening: float = 0.25  # principal components of the target are divided by deviation ** whitening
    refit: bool = False  # fit the head to whole photographs at the end
    precision: str = "fp32"  # of the student's forward pass: "fp32" or "bf16"
    workers: int = 1  # threads, each with its part of the batch
    n_rooms: int = 3000  # generated scenes
    n_paintings: int = 1000
    check_every: int = 200  # steps between validation, export and checkpoint
    seed: int = 0

    def rate(self, step: int) -> float:
        """Learning rate of a step of the second part."""
        return self.learning_rate * schedule(step, self.steps, self.warm_up, self.decay)


def schedule(step: int, steps: int, warm_up: int, decay: float) -> float:
    """Factor on the learning rate, in [0, 1]: linear rise, plateau, linear fall to zero."""
    return min(1.0, (step + 1) / warm_up, (steps - step) / (decay * steps))


def read_settings(path: Path) -> Settings:
    """Settings from a JSON file. Raises ValueError for a key that is not a setting."""
    values = json.loads(path.read_text())
    nested = {"student": StudentSettings, "blocks": BlockSettings, "hint": HintSettings}
    for key, of_type in nested.items():
        if values.get(key) is not None:
            values[key] = _checked(of_type, values[key], f"{path}: {key}")
    return _checked(Settings, values, str(path))


def _checked(of_type: type[T], values: dict[str, Any], where: str) -> T:
    known = [each.name for each in fields(of_type)]  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"{where}: unknown settings {unknown}; there are {known}")
    return of_type(**{key: tuple(v) if isinstance(v, list) else v for key, v in values.items()})
