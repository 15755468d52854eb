"""``train_network``: one network, one objective, labeled images; writes a folder with the trained model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger

from lookalike.datasets import LabeledImages
from lookalike.datasets.checks import check_readable, check_training_data
from lookalike.errors import TrainingError
from lookalike.images import Preprocessing
from lookalike.training.checkpoints import CheckpointClock
from lookalike.training.interrupts import Interrupts
from lookalike.training.lightning_runs import (
    RuntimeOptions,
    StepProgress,
    is_first,
    make_trainer,
    quiet_lightning,
)
from lookalike.training.loop import TrainingLoop
from lookalike.training.objective import Objective
from lookalike.training.pictures import TrainingPictures, preprocessing_for
from lookalike.training.run_directory import RunDirectory
from lookalike.training.settings import TrainSettings
from lookalike.training.stopping import EvaluatedEpochs
from lookalike.training.trainable import Trainable
from lookalike.training.validation import check_validation, validate
from lookalike.types import ProgressCallback


def train_network(
    model: Trainable,
    objective: Objective,
    train: LabeledImages,
    settings: TrainSettings,
    *,
    out: Path,
    validation: LabeledImages | None = None,
    description: Mapping[str, Any] | None = None,
    resume: bool = False,
    runtime: RuntimeOptions | None = None,
    progress: ProgressCallback | None = None,
) -> dict[str, float]:
    """Train ``model`` and write the run directory ``out``; return the metrics on ``validation``.

    They are those of the saved weights: of the last epoch, or with ``keep_best`` of the epoch with the best
    first recall, which these images then chose. ``out`` gets the model, ``training.json``, ``log.csv``,
    ``evaluation.csv``, ``result.json`` and a checkpoint.
    ``description`` identifies model and objective in JSON types. With ``resume`` the description, the
    settings and the images must be those of the run in ``out``; it continues from its checkpoint, on a
    CPU bit for bit as if never interrupted. ``progress`` is told while images are read (stage "reading
    images") and after each step (stage "epoch 3"; values: the loss, and metrics after an evaluation).

    Raises DatasetError for unsuitable images, and TrainingError if the folder cannot be written or
    holds another training, or if the loss becomes NaN or infinite. Ctrl-C raises
    TrainingInterruptedError once the step is finished and saved.
    """
    runtime = runtime or RuntimeOptions()
    check_training_data(train, validation)
    if validation is not None:
        check_validation(validation)
        check_readable(validation, progress)
    preprocessing = preprocessing_for(model.preprocessing, settings)
    pictures = TrainingPictures(train, preprocessing, settings, keep=runtime.keep_pictures)
    loop = TrainingLoop(model, objective, settings, pictures, workers=runtime.workers)
    run_directory = RunDirectory(out)
    watch = _Watch(run_directory, loop, preprocessing, validation, runtime.checkpoint_every, progress)
    with quiet_lightning():
        trainer = make_trainer(
            runtime,
            precision=settings.precision,
            steps=loop.steps,
            clip=settings.clip,
            callback=watch,
            logger=TensorBoardLogger(run_directory.folder, name=None, version="tensorboard"),
        )
        if is_first():
            run_directory.check(settings, description or {}, train, resume=resume)
        pictures.read_all(progress)
        try:
            if is_first():
                run_directory.begin(after_step=run_directory.step())
            with watch.interrupts.noted():
                trainer.fit(loop, ckpt_path=run_directory.resumable, weights_only=True)
        except OSError as error:
            raise TrainingError(f"{out} can't be written: {error}; free some space") from error
    evaluated, metrics = watch.evaluated, watch.metrics
    last = math.ceil(loop.global_step / loop.steps_per_epoch)
    kept = last
    if settings.keep_best and evaluated.best_epoch:
        kept, metrics = evaluated.best_epoch, evaluated.best_metrics
    if is_first():
        if kept != last:
            loop.load_state_dict(run_directory.best_weights())
        run_directory.finish({"epoch": kept, "last_epoch": last, "stopped": evaluated.stopped})
        model.save(out, preprocessing)
    return metrics


@final
class _Watch(L.Callback):  # type: ignore[misc]
    """Freezes parameters before a step; logs, evaluates and writes checkpoints after it."""

    def __init__(
        self,
        run_directory: RunDirectory,
        loop: TrainingLoop,
        preprocessing: Preprocessing,
        validation: LabeledImages | None,
        checkpoint_every: int,
        progress: ProgressCallback | None,
    ) -> None:
        self._run_directory, self._loop = run_directory, loop
        self._clock, self.interrupts = CheckpointClock(checkpoint_every), Interrupts()
        self._preprocessing, self._validation = preprocessing, validation
        self._progress = StepProgress(loop.steps, progress, run_directory.minutes)
        self.metrics: dict[str, float] = {}  # of the latest evaluation
        self.evaluated = EvaluatedEpochs()
        self._rates: dict[str, float] = {}

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training must know of its evaluations; part of Lightning's checkpoint."""
        return {"metrics": self.metrics, "evaluated": self.evaluated.to_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore what ``state_dict`` returned."""
        self.metrics = state_dict["metrics"]
        self.evaluated = EvaluatedEpochs(**state_dict["evaluated"])

    def on_train_start(self, trainer: L.Trainer, loop: L.LightningModule) -> None:
        self._progress.begin(trainer.global_step)
        trainer.should_stop = bool(self.evaluated.stopped)

    def on_train_batch_start(
        self, trainer: L.Trainer, loop: L.LightningModule, batch: object, index: int
    ) -> None:
        self._loop.prepare_step()
        groups = trainer.optimizers[0].param_groups
        self._rates = {f"{group['part']}_rate": group["lr"] for group in groups}

    def on_train_batch_end(
        self, trainer: L.Trainer, loop: L.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        step = trainer.global_step
        epoch, in_epoch = divmod(step - 1, self._loop.steps_per_epoch)
        ends_epoch = in_epoch + 1 == self._loop.steps_per_epoch
        if trainer.is_global_zero:
            self._log(trainer, step, epoch + 1)
        metrics = self._evaluated(trainer, step, epoch + 1) if ends_epoch else {}
        is_saved = self._clock.is_due(trainer) or ends_epoch
        if is_saved:
            self._save(trainer)
        if trainer.is_global_zero:
            values = {"loss": sum(self._loop.last_terms.values())} | metrics
            self._progress.report(f"epoch {epoch + 1}", step, values)
        if step < self._loop.steps:
            self.interrupts.stop(trainer, lambda: None if is_saved else self._save(trainer))

    def _save(self, trainer: L.Trainer) -> None:
        self._clock.save(trainer, self._run_directory.checkpoint)

    def _log(self, trainer: L.Trainer, step: int, epoch: int) -> None:
        terms = self._loop.last_terms
        row = {"step": step, "epoch": epoch, "loss": sum(terms.values())} | terms | self._rates
        self._run_directory.steps.add(row)
        trainer.logger.log_metrics({f"train/{name}": value for name, value in row.items()}, step)

    def _evaluated(self, trainer: L.Trainer, step: int, epoch: int) -> dict[str, float]:
        """Metrics at the end of an epoch that is to be evaluated; empty for others."""
        settings = self._loop.settings
        every = settings.evaluate_every
        due = epoch == settings.epochs or (every and (epoch - 1) % every == 0)
        if self._validation is None or not due:
            return {}
        metrics: dict[str, float] = {}
        if trainer.is_global_zero:
            metrics = validate(self._loop.model, self._validation, self._preprocessing, settings)
            self._run_directory.evaluations.add({"step": step, "epoch": epoch} | metrics)
            named = {f"evaluation/{name}": value for name, value in metrics.items()}
            trainer.logger.log_metrics(named, step)
        self.metrics = trainer.strategy.broadcast(metrics)  # so that all processes stop together
        is_best = self.evaluated.add(epoch, self.metrics, settings)
        if is_best and settings.keep_best and trainer.is_global_zero:
            self._run_directory.keep(self._loop.state_dict())
        trainer.should_stop = bool(self.evaluated.stopped)
        return self.metrics
