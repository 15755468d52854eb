"""Ctrl-C in a training: the step is finished and saved before the training ends."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import final

import lightning as L

from lookalike.errors import TrainingInterruptedError


@final
class Interrupts:
    """Notes the first Ctrl-C, for ``stop`` to act on at the end of a step; a second ends at once."""

    def __init__(self) -> None:
        self._asked = False

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Catch SIGINT inside the block; in the main thread only, where signals arrive."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        former = signal.signal(signal.SIGINT, self._note)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, former)

    def stop(self, trainer: L.Trainer, save: Callable[[], None]) -> None:
        """Save and raise TrainingInterruptedError if one was asked for, in all processes."""
        asked = self._asked
        if trainer.world_size > 1:
            asked = bool(trainer.strategy.reduce_boolean_decision(asked, all=False))
        if asked:
            save()
            raise TrainingInterruptedError(
                f"interrupted at step {trainer.global_step}; go on with --resume", trainer.global_step
            )

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            raise TrainingInterruptedError("interrupted; go on from the last checkpoint with --resume", None)
        self._asked = True
