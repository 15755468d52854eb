"""Lightning as the trainings here use it: options, the trainer, silence, progress by steps."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, final

import lightning as L
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.utilities.rank_zero import rank_zero_only

from lookalike.errors import TrainingError
from lookalike.training.checkpoints import SafeCheckpoints
from lookalike.training.log import MinuteLog
from lookalike.types import Progress, ProgressCallback

LIGHTNING_PRECISION = {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True)
class RuntimeOptions:
    """How a training runs; its results do not depend on these."""

    devices: int = 1
    accelerator: str = "auto"  # auto, cpu, gpu
    workers: int = 0  # processes that decode and augment images; 0: the training process
    keep_pictures: bool = True  # keep decoded images in memory
    checkpoint_every: int = 100  # steps


def make_trainer(
    runtime: RuntimeOptions, *, precision: str, steps: int, clip: float, callback: L.Callback, logger: Any
) -> L.Trainer:
    """A trainer for ``steps`` steps that leaves checkpoints, samplers and progress to us.

    Raises TrainingError for devices that are not there.
    """
    try:
        return L.Trainer(
            accelerator=runtime.accelerator,
            devices=runtime.devices,
            # parameters may be unused: the backbone is frozen during the warm-up
            strategy="ddp_find_unused_parameters_true" if runtime.devices > 1 else "auto",
            precision=LIGHTNING_PRECISION[precision],
            max_steps=steps,
            gradient_clip_val=clip or None,
            callbacks=[callback],
            logger=logger,
            plugins=[SafeCheckpoints()],
            enable_checkpointing=False,  # ours are written by steps and by time
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,  # our batches know their process
            num_sanity_val_steps=0,
        )
    except (MisconfigurationException, ValueError) as error:
        raise TrainingError(
            f"can't train on {runtime.devices} x {runtime.accelerator}: {error}; choose another device"
        ) from error


@final
class StepProgress:
    """Progress of a training by its steps; the rate counts from the step where this run began."""

    def __init__(self, total: int, progress: ProgressCallback | None, log: MinuteLog) -> None:
        self._total, self._progress, self._log = total, progress, log
        self._begun, self._first_step = time.perf_counter(), 0

    def begin(self, first_step: int) -> None:
        """Start the clock after so many steps."""
        self._begun, self._first_step = time.perf_counter(), first_step

    def report(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Call the callback, if there is one, after a step, and write to the log once a minute."""
        seconds = max(time.perf_counter() - self._begun, 1e-9)
        rate = max(step - self._first_step, 1) / seconds
        left = (self._total - step) / rate
        shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        self._log.add(
            f"step {step:,} of {self._total:,}, {stage}, {shown}, {rate:.3g} steps/s, {left:,.0f} s left",
            now=step == self._total or len(values) > 1,
        )
        if self._progress is not None:
            self._progress(Progress(stage, step, self._total, rate, left, values))


def is_first() -> bool:
    """Whether this is the process, among several, that writes."""
    return bool(rank_zero_only.rank == 0)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning, whose advice would break a progress bar, and TensorBoard's thread on a full disk."""
    logger = logging.getLogger("lightning.pytorch")
    level, hook = logger.level, threading.excepthook
    logger.setLevel(logging.ERROR)

    def without_disk_errors(args: threading.ExceptHookArgs) -> None:
        from_tensorboard = type(args.thread).__module__.startswith("tensorboard")
        if not (from_tensorboard and isinstance(args.exc_value, OSError)):  # the training's own is a sentence
            hook(args)

    threading.excepthook = without_disk_errors
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"lightning\..*|torch\..*|tensorboard\..*")
            yield
    finally:
        logger.setLevel(level)
        threading.excepthook = hook
        torch.set_grad_enabled(True)
