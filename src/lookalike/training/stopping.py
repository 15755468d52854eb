"""When a training ends early, and which of its epochs is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, final

from lookalike.training.settings import TrainSettings


@final
@dataclass
class EvaluatedEpochs:
    """The best evaluation so far, by the first recall of the settings, and whether to go on."""

    epoch: int = 0  # of the latest evaluation, from 1; 0: none so far
    best_epoch: int = 0
    best: float = -1.0  # [0, 1]; -1: none so far
    best_metrics: dict[str, float] = field(default_factory=dict)
    stopped: str = ""  # why the training ends before its last epoch; empty: it does not

    def add(self, epoch: int, metrics: Mapping[str, float], settings: TrainSettings) -> bool:
        """Take in an evaluation; return whether it is the best so far."""
        name = f"recall_at_{settings.recalls[0]}"
        value, self.epoch = metrics[name], epoch
        is_best = value > self.best
        if is_best:
            self.best, self.best_epoch, self.best_metrics = value, epoch, dict(metrics)
        waited = epoch - self.best_epoch
        if settings.patience and waited >= settings.patience:
            self.stopped = f"{waited} epochs without a gain of {name}"
        elif not is_best and settings.collapse and value <= settings.collapse * self.best:
            self.stopped = f"{name} fell from {self.best:.4f} to {value:.4f}"
        return is_best

    def to_dict(self) -> dict[str, Any]:
        """Return the state in JSON types, for ``EvaluatedEpochs(**...)``."""
        return asdict(self)
