"""Checkpoints of a training: written beside the last good one, flushed, renamed; two are kept."""

from __future__ import annotations

import io
import os
import time
import zipfile
from pathlib import Path
from typing import Any, final

import lightning as L
import torch
from lightning.fabric.plugins.io.checkpoint_io import CheckpointIO

from lookalike.errors import TrainingError

BEFORE = ".before"  # what the name of the checkpoint before the last one ends with
_SECONDS = 60.0  # between checkpoints, if the steps between two take longer


@final
class SafeCheckpoints(CheckpointIO):  # type: ignore[misc]
    """Writes a checkpoint so that a kill or a full disk at any moment leaves a whole one."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a file beside, flush it to the disk, and rename; the former checkpoint is kept."""
        target, beside = Path(path), Path(f"{path}.part")
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        try:
            with beside.open("wb") as file:
                file.write(buffer.getbuffer())
                file.flush()
                os.fsync(file.fileno())
            if target.exists():
                target.replace(f"{target}{BEFORE}")
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """Read a checkpoint, without running code from it."""
        return torch.load(path, map_location=map_location or "cpu", weights_only=True)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


def sound_checkpoint(path: Path) -> Path | None:
    """Return the checkpoint, or the one before it if the last is damaged or missing; None without any.

    A checkpoint is sound if the checksums (CRC-32) of all its parts are right: one flipped bit is noticed.
    Raises TrainingError if there are some, but none is sound.
    """
    there = [file for file in (path, Path(f"{path}{BEFORE}")) if file.exists()]
    for file in there:
        if _is_sound(file):
            return file
    if there:
        raise TrainingError(
            f"{there[0]} can't be read, it may be damaged, and there is no other; remove it to restart this "
            "training"
        )
    return None


def _is_sound(file: Path) -> bool:
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.testzip() is None
    except (OSError, ValueError, EOFError, NotImplementedError, zipfile.BadZipFile):
        return False


@final
class CheckpointClock:
    """Says when a checkpoint is due: every so many steps, and every minute."""

    def __init__(self, every: int) -> None:
        self._every, self._last = every, time.monotonic()

    def is_due(self, trainer: L.Trainer) -> bool:
        """Whether one is due after this step; the same in all processes."""
        late = time.monotonic() - self._last > _SECONDS
        if trainer.world_size > 1:
            late = bool(trainer.strategy.broadcast(late))
        return late or trainer.global_step % self._every == 0

    def save(self, trainer: L.Trainer, path: Path) -> None:
        """Write the checkpoint."""
        trainer.save_checkpoint(path)
        self._last = time.monotonic()
