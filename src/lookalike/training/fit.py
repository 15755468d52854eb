"""``fit``: a network, an objective and labeled images in; a folder that every command takes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import lightning as L
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import TensorBoardLogger

from lookalike.datasets import LabeledImages
from lookalike.datasets.checks import Report, check_readable, check_training_data
from lookalike.errors import TrainingError
from lookalike.images import Preprocessing
from lookalike.training.lightning_runs import PRECISIONS, is_first, quiet_lightning
from lookalike.training.loop import TrainingLoop
from lookalike.training.objective import Objective
from lookalike.training.pictures import TrainingPictures, preprocessing_for
from lookalike.training.run_directory import RunDirectory
from lookalike.training.settings import TrainSettings
from lookalike.training.trainable import Trainable
from lookalike.training.validation import check_validation, validate


@dataclass(frozen=True)
class TrainProgress:
    """How far a training is."""

    step: int  # done
    steps: int  # in all
    epoch: int  # 1 is the first
    loss: float  # of the step
    images_per_second: float
    remaining: float  # seconds, at the rate so far
    metrics: Mapping[str, float] = field(default_factory=dict)  # of an evaluation, if there was one just now

    # what a progress bar asks for
    @property
    def done(self) -> int:
        """Steps done."""
        return self.step

    @property
    def total(self) -> int:
        """Steps in all."""
        return self.steps

    @property
    def rate(self) -> float:
        """Images a second."""
        return self.images_per_second


@dataclass(frozen=True)
class RuntimeOptions:
    """How a training runs; what it computes depends on nothing here."""

    devices: int = 1
    accelerator: str = "auto"  # auto, cpu, gpu
    workers: int = 0  # processes that decode and augment; 0: the training's own
    keep_pictures: bool = True  # decoded in memory
    checkpoint_every: int = 100  # steps; one is written at the end of every epoch besides
    on_progress: Callable[[TrainProgress], None] | None = None
    on_reading: Report | None = None  # images checked before the start, images in all


def fit(
    model: Trainable,
    objective: Objective,
    train: LabeledImages,
    settings: TrainSettings,
    *,
    out: Path,
    validation: LabeledImages | None = None,
    description: Mapping[str, Any] | None = None,
    resume: bool = False,
    runtime: RuntimeOptions = RuntimeOptions(),
) -> dict[str, float]:
    """Train and write ``out``: the model, ``training.json``, ``log.csv``, ``evaluation.csv``, a checkpoint.

    Returns the last metrics on ``validation``; empty without. ``description`` says in JSON terms what
    model and objective are; with ``resume`` it must be that of the folder, as must settings and images.
    The run then goes on from its checkpoint as if it had never ended: on a CPU bit for bit. Raises
    DatasetError for unfit images and TrainingError for a folder that can't be written, that holds a
    training already, or another one than is to be resumed, and for a loss that is no number.
    """
    check_training_data(train, validation)
    if validation is not None:
        check_validation(validation)
        check_readable(validation, runtime.on_reading)
    preprocessing = preprocessing_for(model.preprocessing, settings)
    pictures = TrainingPictures(train, preprocessing, settings, keep=runtime.keep_pictures)
    loop = TrainingLoop(model, objective, settings, pictures, workers=runtime.workers)
    run_directory = RunDirectory(out)
    watch = _Watch(run_directory, loop, preprocessing, validation, runtime)
    with quiet_lightning():
        trainer = _trainer(settings, runtime, loop, watch, run_directory)
        if is_first():
            run_directory.check(settings, description or {}, train, resume=resume)
        pictures.read_all(runtime.on_reading)
        try:
            if is_first():
                run_directory.begin(after_step=run_directory.step())
            trainer.fit(loop, ckpt_path=run_directory.resumable, weights_only=True)
        except OSError as error:
            raise TrainingError(
                f"the training can't be written to {out}: {error}; make room there"
            ) from error
    if is_first():
        model.save(out, preprocessing)
    return watch.metrics


def _trainer(
    settings: TrainSettings,
    runtime: RuntimeOptions,
    loop: TrainingLoop,
    watch: L.Callback,
    run_directory: RunDirectory,
) -> L.Trainer:
    try:
        return _made_trainer(settings, runtime, loop, watch, run_directory)
    except (MisconfigurationException, ValueError) as error:
        raise TrainingError(
            f"{runtime.devices} x {runtime.accelerator} can't be trained on: {error}; choose another device"
        ) from error


def _made_trainer(
    settings: TrainSettings,
    runtime: RuntimeOptions,
    loop: TrainingLoop,
    watch: L.Callback,
    run_directory: RunDirectory,
) -> L.Trainer:
    return L.Trainer(
        accelerator=runtime.accelerator,
        devices=runtime.devices,
        # in the warm-up the backbone takes no part
        strategy="ddp_find_unused_parameters_true" if runtime.devices > 1 else "auto",
        precision=PRECISIONS[settings.precision],
        max_steps=loop.steps,
        gradient_clip_val=settings.clip or None,
        callbacks=[watch],
        logger=TensorBoardLogger(run_directory.folder, name=None, version="tensorboard"),
        enable_checkpointing=False,  # ours go by steps, see _Watch
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,  # see Batches
        num_sanity_val_steps=0,
    )


@final
class _Watch(L.Callback):  # type: ignore[misc]
    """What happens around a step: freezing before; logs, evaluation and checkpoint after."""

    def __init__(
        self,
        run_directory: RunDirectory,
        loop: TrainingLoop,
        preprocessing: Preprocessing,
        validation: LabeledImages | None,
        runtime: RuntimeOptions,
    ) -> None:
        self._run_directory, self._loop, self._runtime = run_directory, loop, runtime
        self._preprocessing, self._validation = preprocessing, validation
        self._begun, self._first_step = 0.0, 0
        self.metrics: dict[str, float] = {}

    def on_train_start(self, trainer: L.Trainer, loop: L.LightningModule) -> None:
        self._begun, self._first_step = time.perf_counter(), trainer.global_step

    def on_train_batch_start(
        self, trainer: L.Trainer, loop: L.LightningModule, batch: object, index: int
    ) -> None:
        self._loop.prepare_step()

    def on_train_batch_end(
        self, trainer: L.Trainer, loop: L.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        step = trainer.global_step
        epoch, in_epoch = divmod(step - 1, self._loop.steps_per_epoch)
        ends_epoch = in_epoch + 1 == self._loop.steps_per_epoch
        if trainer.is_global_zero:
            self._log(trainer, step, epoch + 1)
        metrics = self._evaluated(trainer, step, epoch + 1) if ends_epoch else {}
        if ends_epoch or step % self._runtime.checkpoint_every == 0:
            trainer.save_checkpoint(self._run_directory.checkpoint)
        if self._runtime.on_progress and trainer.is_global_zero:
            self._runtime.on_progress(self._progress(step, epoch + 1, metrics))

    def _log(self, trainer: L.Trainer, step: int, epoch: int) -> None:
        terms = self._loop.last_terms
        row = {"step": step, "epoch": epoch, "loss": sum(terms.values())} | terms
        rates = {
            f"{name}_rate": group["lr"]
            for name, group in zip(
                ("backbone", "head", "loss"), trainer.optimizers[0].param_groups, strict=True
            )
        }
        self._run_directory.steps.add(row | rates)
        trainer.logger.log_metrics({f"train/{name}": value for name, value in row.items()}, step)

    def _evaluated(self, trainer: L.Trainer, step: int, epoch: int) -> dict[str, float]:
        """Metrics at the end of an epoch that is to be evaluated; empty for others."""
        settings = self._loop.settings
        due = epoch == settings.epochs or (settings.evaluate_every and epoch % settings.evaluate_every == 0)
        if self._validation is None or not due:
            return {}
        if trainer.is_global_zero:
            self.metrics = validate(self._loop.model, self._validation, self._preprocessing)
            self._run_directory.evaluations.add({"step": step, "epoch": epoch} | self.metrics)
            named = {f"evaluation/{name}": value for name, value in self.metrics.items()}
            trainer.logger.log_metrics(named, step)
        trainer.strategy.barrier()
        return self.metrics

    def _progress(self, step: int, epoch: int, metrics: Mapping[str, float]) -> TrainProgress:
        seconds = max(time.perf_counter() - self._begun, 1e-9)
        per_step = seconds / max(step - self._first_step, 1)
        return TrainProgress(
            step=step,
            steps=self._loop.steps,
            epoch=epoch,
            loss=sum(self._loop.last_terms.values()),
            images_per_second=self._loop.settings.batch_size / per_step,
            remaining=per_step * (self._loop.steps - step),
            metrics=metrics,
        )
