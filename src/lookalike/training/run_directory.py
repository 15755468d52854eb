"""The run directory of a training: its settings, logs and checkpoint."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch

from lookalike.datasets import LabeledImages
from lookalike.errors import TrainingError, writing
from lookalike.training.checkpoints import is_whole, save_whole, sound_checkpoint
from lookalike.training.log import CsvLog, MinuteLog
from lookalike.training.model_spec import ModelSpec
from lookalike.training.settings import TrainSettings

RECORD, RESULT = "training.json", "result.json"
_BESIDE = f".{RECORD}"  # renamed when whole


@final
class RunDirectory:
    """The folder that a training writes to, checked before it starts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.checkpoint = folder / "checkpoint.ckpt"
        self.best = folder / "best.ckpt"  # weights of the best evaluation so far
        self.steps = CsvLog(folder / "log.csv")
        self.evaluations = CsvLog(folder / "evaluation.csv")
        self.minutes = MinuteLog(folder / "progress.log")
        self._record: dict[str, Any] = {}

    @property
    def resumable(self) -> Path | None:
        """The last checkpoint that is sound, if there is one. Raises TrainingError if all are damaged."""
        return sound_checkpoint(self.checkpoint)

    def check(
        self, settings: TrainSettings, description: Mapping[str, Any], train: LabeledImages, *, resume: bool
    ) -> None:
        """Check that the folder is new and writable, or, to resume, that of the same training.

        Raises TrainingError otherwise. Writes nothing yet, except for making the folder.
        """
        self._record = {
            "settings": settings.to_dict(),
            "description": json.loads(json.dumps(description)),
            "data": {
                "images": len(train),
                "classes": len(train.classes),
                "fingerprint": _fingerprint(train),
            },
        }
        if resume:
            _check_same(self.folder, self._record)
        else:
            _make_empty(self.folder)
        if not os.access(self.folder, os.W_OK):
            raise TrainingError(f"{self.folder} can't be written; check its permissions")

    def step(self) -> int:
        """Number of steps before the checkpoint; 0 without one.

        Raises TrainingError if it can't be read.
        """
        checkpoint = self.resumable
        if checkpoint is None:
            return 0
        try:
            return int(torch.load(checkpoint, weights_only=True, mmap=True)["global_step"])
        except (OSError, RuntimeError, KeyError, ValueError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{checkpoint} can't be read, it may be damaged ({type(error).__name__}); "
                "remove it to restart this training"
            ) from error

    def begin(self, *, after_step: int) -> None:
        """Write the record of the training, and continue the logs after a step."""
        write_record(self.folder, self._record)
        self.steps.begin(after_step)
        self.evaluations.begin(after_step)

    def keep(self, weights: Mapping[str, Any]) -> None:
        """Write weights as those of the best evaluation; a process killed here leaves the earlier ones."""
        save_whole(dict(weights), self.best)

    def best_weights(self) -> dict[str, Any]:
        """Read what ``keep`` wrote. Raises TrainingError if it can't be read or its checksums are wrong."""
        try:
            if not is_whole(self.best):
                raise EOFError
            weights: dict[str, Any] = torch.load(self.best, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
            raise TrainingError(
                f"{self.best} can't be read ({type(error).__name__}), so the best epoch is lost; train again "
                "in a new folder"
            ) from error
        return weights

    def finish(self, result: Mapping[str, Any]) -> None:
        """Write which epoch was kept, which was the last, and why the training stopped before its end."""
        (self.folder / RESULT).write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


def write_record(folder: Path, record: Mapping[str, Any]) -> None:
    """Write what a training was started with; a process killed here leaves the former record."""
    beside = folder / _BESIDE
    beside.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    beside.replace(folder / RECORD)


def is_unused(folder: Path) -> bool:
    """Whether a folder is empty, or has no more than a record that a kill kept from being written."""
    return all(path.name == _BESIDE for path in folder.iterdir())


def kept_epoch(folder: Path) -> str:
    """A sentence on the epoch whose weights a finished training saved; empty for the last of all."""
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    ended = f"stopped after epoch {result['last_epoch']}: {result['stopped']}; " if result["stopped"] else ""
    if result["epoch"] == result["last_epoch"]:
        return f"{ended}the last epoch is kept" if ended else ""
    return (
        f"{ended}epoch {result['epoch']} of {result['last_epoch']} is kept, the best on the evaluation images"
    )


def recorded(folder: Path) -> tuple[ModelSpec, TrainSettings]:
    """Return what the training in a folder was started with. Raises TrainingError if there is none."""
    record = _record(folder)
    try:
        return ModelSpec.from_dict(record["description"]), TrainSettings.from_dict(record["settings"])
    except (KeyError, TypeError, ValueError) as error:
        raise TrainingError(f"{folder / RECORD} is not a record of this version: {error}") from error


def learned_from_all(folder: Path, data: LabeledImages) -> bool:
    """Whether the training in a folder learns from as many images as these: it held out none."""
    try:
        return bool(_record(folder)["data"]["images"] == len(data))
    except (TrainingError, KeyError, TypeError):
        return False


def _make_empty(folder: Path) -> None:
    with writing(folder, TrainingError):
        folder.mkdir(parents=True, exist_ok=True)
        occupied = not is_unused(folder)
    if (folder / RECORD).exists():
        raise TrainingError(f"{folder} holds a training; resume it, or choose another folder")
    if occupied:
        raise TrainingError(f"{folder} is not empty; choose a new folder, nothing is overwritten")


def _check_same(folder: Path, record: Mapping[str, Any]) -> None:
    before = _as_written_now(_record(folder))
    if differing := _differences(before, record):
        raise TrainingError(
            f"the training in {folder} was started with other settings or data: {'; '.join(differing)}; "
            "resume it with the same, or start another in a new folder"
        )


def _record(folder: Path) -> dict[str, Any]:
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise TrainingError(f"{folder} holds no training to resume; start it without resuming") from error
    except (OSError, ValueError) as error:
        raise TrainingError(f"{folder / RECORD} can't be read: {error}; is this a training?") from error
    return record


def _as_written_now(record: dict[str, Any]) -> dict[str, Any]:
    """An earlier version's record, with settings added since then at their defaults."""
    try:
        spec = ModelSpec.from_dict(record["description"]).to_dict()
        settings = TrainSettings.from_dict(record["settings"]).to_dict()
    except (KeyError, TypeError, ValueError):
        return record
    if spec.keys() != record["description"].keys():  # the description of a script, not of a ModelSpec
        return record
    return {**record, "description": spec, "settings": settings}


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Differences of two records, as "name was A, is B"."""
    return [
        f"{name} was {before.get(part, {}).get(name)!r}, is {now[part].get(name)!r}"
        for part in now
        for name in sorted(set(before.get(part, {})) | set(now[part]))
        if before.get(part, {}).get(name) != now[part].get(name)
    ]


def _fingerprint(data: LabeledImages) -> str:
    """Hash of the images' relative paths and labels."""
    top = os.path.commonpath([path.absolute() for path in data.paths])
    digest = hashlib.sha256()
    for path, label in zip(data.paths, data.labels, strict=True):
        digest.update(f"{os.path.relpath(path.absolute(), top)}\t{label}\n".encode())
    return digest.hexdigest()[:16]
