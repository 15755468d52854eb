"""``fit_reranker``: training of the CSA re-ranker on labeled embeddings.

Follows Ouyang et al., NeurIPS 2021, sections 3.4 and 4.1: contrastive and reconstruction loss, candidates
in random order, SGD with warm-up and cosine schedule.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import lightning as L
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset

from lookalike.datasets.descriptors import Descriptors, ViewChoice
from lookalike.errors import TrainingError, writing
from lookalike.models.csa.checkpoint import save_scorer
from lookalike.models.csa.network import ContextNetwork, ContextSizes
from lookalike.models.csa.shortlist import ExpandedScorer, ExpansionView, PublishedScorer, ShortlistScorer
from lookalike.ops.affinity import contrastive_loss, exp_similarities, ranking_loss, reconstruction_loss
from lookalike.training.checkpoints import CheckpointClock, sound_checkpoint
from lookalike.training.interrupts import Interrupts
from lookalike.training.lightning_runs import (
    RuntimeOptions,
    StepProgress,
    is_first,
    make_trainer,
    quiet_lightning,
)
from lookalike.training.log import CsvLog, MinuteLog
from lookalike.training.reranking_lists import DrawnLists, ShortlistBatch, ShortlistSource, WholeLists
from lookalike.training.reranking_settings import RerankerSettings
from lookalike.training.run_directory import RECORD, is_unused, write_record
from lookalike.training.seeds import seed_of
from lookalike.types import ProgressCallback

CHECKPOINT, WEIGHTS, LOG = "checkpoint.ckpt", "model.safetensors", "log.csv"


def fit_reranker(
    sets: Sequence[Descriptors],
    settings: RerankerSettings,
    *,
    out: Path,
    resume: bool = False,
    half: bool = False,
    runtime: RuntimeOptions | None = None,
    progress: ProgressCallback | None = None,
) -> Path:
    """Train a re-ranker on labeled embeddings; return the path of its weights, a checkpoint for ``csa``.

    The run directory ``out`` gets model.safetensors (fp16 with ``half``), training.json, log.csv, a
    checkpoint and cached lists. With ``resume`` the run continues from the checkpoint in ``out``, on a
    CPU bit for bit as if never interrupted. Of ``runtime`` the options for images are unused; another
    number of devices draws other batches. ``progress`` is told after each step; its values hold the loss.

    Raises DatasetError for too few images, and TrainingError if the folder cannot be written or holds
    another training, or if the loss becomes NaN or infinite. Ctrl-C raises TrainingInterruptedError once the
    step is finished and saved.
    """
    runtime = runtime or RuntimeOptions()
    if is_first():
        _prepare(out, settings, sets, resume=resume)
    source = _source(sets, settings, out / "lists")
    torch.manual_seed(settings.seed)
    loop = _Loop(make_scorer(settings), settings, source)
    watch = _Watch(loop, out, runtime.checkpoint_every, progress)
    with quiet_lightning():
        trainer = make_trainer(
            runtime,
            precision=settings.precision,
            steps=loop.n_steps,
            clip=settings.clip,
            callback=watch,
            logger=False,
        )
        with watch.interrupts.noted():
            trainer.fit(loop, ckpt_path=sound_checkpoint(out / CHECKPOINT), weights_only=True)
    if is_first():
        save_scorer(out / WEIGHTS, loop.scorer, half=half)
    return out / WEIGHTS


def recorded_settings(out: Path) -> RerankerSettings:
    """Return the settings of the training in a folder. Raises TrainingError if there is none."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return RerankerSettings.from_dict(record["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{out} holds no training to resume; start it without resuming") from error


def recorded_views(out: Path) -> ViewChoice:
    """Return the choice of those views that the training in a folder learns from. Raises TrainingError."""
    recorded_settings(out)
    data = json.loads((out / RECORD).read_text(encoding="utf-8")).get("data", {})
    names = {name for of_set in data.values() for name in of_set["views"]}
    return lambda available, _origin: [name for name in available if name in names]


def make_scorer(settings: RerankerSettings) -> ShortlistScorer:
    """Make an untrained scorer, initialized from torch's global generator."""
    sizes = ContextSizes(
        n_anchors=settings.n_anchors,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        hidden=settings.hidden,
    )
    network = ContextNetwork(sizes, dropout=settings.dropout, drop_path=settings.drop_path)
    if settings.method == "published":
        return PublishedScorer(network)
    return ExpandedScorer(network, ExpansionView(settings.neighbors, settings.alpha))


def shortlist_losses(
    scorer: ShortlistScorer, batch: ShortlistBatch, settings: RerankerSettings
) -> dict[str, Tensor]:
    """Return every term of the loss on a batch, weighted."""
    inputs = scorer.inputs(batch.queries, batch.candidates, batch.following)  # (B, 1 + K, L)
    order = torch.randperm(batch.relevant.shape[1], device=inputs.device)
    inputs = torch.cat([inputs[:, :1], inputs[:, 1:][:, order]], dim=1)
    relevant = batch.relevant[:, order]
    tokens = scorer.network(inputs)
    with torch.autocast(inputs.device.type, enabled=False):
        terms = {"order": _order_loss(scorer, inputs, tokens.float(), relevant, settings)}
        if settings.reconstruction:
            rebuilt = scorer.network.rebuilt(tokens.float())
            terms["reconstruction"] = settings.reconstruction * reconstruction_loss(rebuilt, inputs)
    return terms


def _order_loss(
    scorer: ShortlistScorer, inputs: Tensor, tokens: Tensor, relevant: Tensor, settings: RerankerSettings
) -> Tensor:
    if settings.loss == "ranking":
        return ranking_loss(scorer.scores(inputs, tokens), relevant, settings.temperature)
    exp_similarity = exp_similarities(tokens, settings.temperature)
    if settings.loss == "contrastive":
        return contrastive_loss(exp_similarity, torch.cat([torch.ones_like(relevant[:, :1]), relevant], 1))
    useful = relevant.any(1)
    if not useful.any():
        return 0.0 * tokens.sum()
    return contrastive_loss(exp_similarity[useful, 1:], relevant[useful])


def _source(sets: Sequence[Descriptors], settings: RerankerSettings, cache: Path) -> ShortlistSource:
    shared: dict[str, Any] = {
        "k": settings.candidates,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        # the other method's views end with the list
        "n_context": settings.n_anchors - 1 if settings.method == "published" else 0,
    }
    if settings.lists == "whole":
        return WholeLists(sets, **shared, cache=cache)
    return DrawnLists(sets, **shared, variation=settings.variation)


def _prepare(out: Path, settings: RerankerSettings, sets: Sequence[Descriptors], *, resume: bool) -> None:
    """Make the folder, or check that it is that of the same training."""
    data = {s.name: {"images": len(s.labels), "views": sorted(s.views)} for s in sets}
    record = {"settings": settings.to_dict(), "data": data}
    if resume:
        recorded_settings(out)
        if json.loads((out / RECORD).read_text(encoding="utf-8")) != record:
            raise TrainingError(
                f"the training in {out} was started with other settings or data; resume it with the same, "
                "or start another in a new folder"
            )
        return
    with writing(out, TrainingError):
        out.mkdir(parents=True, exist_ok=True)
        if not is_unused(out):
            raise TrainingError(f"{out} is not empty; resume the training there, or choose a new folder")
        write_record(out, record)


@final
class _Steps(IterableDataset[ShortlistBatch]):
    """Batches from one step to the end."""

    def __init__(self, source: ShortlistSource, steps: range, process: int, n_processes: int) -> None:
        self._source, self._steps = source, steps
        self._process, self._n_processes = process, n_processes

    def __iter__(self) -> Any:
        for step in self._steps:
            batch = self._source.batch(step, self._process, self._n_processes)
            yield vars(batch)


@final
class _Loop(L.LightningModule):  # type: ignore[misc]
    """The training step; all randomness in it follows from seed and step."""

    def __init__(self, scorer: ShortlistScorer, settings: RerankerSettings, source: ShortlistSource) -> None:
        super().__init__()
        self.scorer, self.settings, self._source = scorer, settings, source
        self.n_steps = settings.n_steps(source.n_lists)
        self.last_terms: dict[str, float] = {}
        self.last_rate = 0.0

    def train_dataloader(self) -> DataLoader[ShortlistBatch]:
        steps = range(self.global_step, self.n_steps)
        return DataLoader(
            _Steps(self._source, steps, self.global_rank, self.trainer.world_size), batch_size=None
        )

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        torch.manual_seed(seed_of(self.settings.seed, self.global_step, self.global_rank))
        terms = shortlist_losses(self.scorer, ShortlistBatch(**batch), self.settings)
        loss: Tensor = torch.stack(list(terms.values())).sum()
        self.last_terms = {name: float(term.detach()) for name, term in terms.items()}
        self.last_rate = float(self.trainer.optimizers[0].param_groups[0]["lr"])
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(
                f"the loss became {float(loss.detach())} at step {self.global_step + 1} of "
                f"{self.n_steps}; lower the rate or clip the gradient, and check the data"
            )
        return loss

    def configure_optimizers(self) -> Any:
        settings = self.settings
        decayed = [p for p in self.scorer.parameters() if p.ndim > 1]
        others = [p for p in self.scorer.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": settings.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        optimizer: torch.optim.Optimizer
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(groups, settings.rate, momentum=settings.momentum)
        else:
            optimizer = torch.optim.AdamW(groups, settings.rate)
        schedule = LambdaLR(optimizer, lambda step: settings.rate_at(step, self.n_steps) / settings.rate)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


@final
class _Watch(L.Callback):  # type: ignore[misc]
    """Writes the log and checkpoints, and reports progress."""

    def __init__(
        self, loop: _Loop, out: Path, checkpoint_every: int, progress: ProgressCallback | None
    ) -> None:
        self._loop, self._log, self._checkpoint = loop, CsvLog(out / LOG), out / CHECKPOINT
        self._clock, self.interrupts = CheckpointClock(checkpoint_every), Interrupts()
        self._progress = StepProgress(loop.n_steps, progress, MinuteLog(out / "progress.log"))

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._progress.begin(trainer.global_step)
        if trainer.is_global_zero:
            self._log.begin(trainer.global_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        step, loss = trainer.global_step, sum(self._loop.last_terms.values())
        is_saved = self._clock.is_due(trainer) or step == self._loop.n_steps
        if trainer.is_global_zero:
            terms = self._loop.last_terms
            self._log.add({"step": step, "loss": loss} | terms | {"rate": self._loop.last_rate})
        if is_saved:
            self._clock.save(trainer, self._checkpoint)
        if trainer.is_global_zero:
            self._progress.report("training", step, {"loss": loss})
        if step < self._loop.n_steps:
            self.interrupts.stop(
                trainer, lambda: None if is_saved else self._clock.save(trainer, self._checkpoint)
            )
