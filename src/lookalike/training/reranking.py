"""``fit_reranker``: labeled embeddings in, a network that re-ranks out.

CSA's training (Ouyang et al., NeurIPS 2021, section 3.4 and 4.1): contrastive and reconstruction
loss, candidates in random order, SGD with warm-up and cosine.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import lightning as L
import torch
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, IterableDataset

from lookalike.datasets.descriptors import Descriptors
from lookalike.errors import TrainingError
from lookalike.models.csa.checkpoint import save_scorer
from lookalike.models.csa.network import ContextNetwork, ContextSizes
from lookalike.models.csa.shortlist import ExpandedScorer, ExpansionView, PublishedScorer, ShortlistScorer
from lookalike.ops.affinity import contrastive_loss, exp_similarities, ranking_loss, reconstruction_loss
from lookalike.training.lightning_runs import PRECISIONS, is_first, quiet_lightning
from lookalike.training.log import CsvLog
from lookalike.training.reranking_lists import DrawnLists, ShortlistBatch, ShortlistSource, WholeLists
from lookalike.training.reranking_settings import RerankerSettings

RECORD, CHECKPOINT, WEIGHTS, LOG = "training.json", "checkpoint.ckpt", "model.safetensors", "log.csv"
KEPT_EVERY = 100  # steps between checkpoints


@dataclass(frozen=True)
class RerankerProgress:
    """How far a training is."""

    step: int  # done
    steps: int  # in all
    loss: float  # of the step
    queries_per_second: float
    remaining: float  # seconds, at the rate so far


@dataclass(frozen=True)
class RerankerRunning:
    """How a training runs; what it computes depends on nothing here but the number of devices."""

    devices: int = 1
    accelerator: str = "auto"  # auto, cpu, gpu
    half: bool = False  # weights are written as fp16
    on_progress: Callable[[RerankerProgress], None] | None = None


def fit_reranker(
    sets: Sequence[Descriptors],
    settings: RerankerSettings,
    *,
    out: Path,
    resume: bool = False,
    runtime: RerankerRunning = RerankerRunning(),
) -> Path:
    """Train and write ``out``: model.safetensors, training.json, log.csv, a checkpoint, cached lists.

    Returns the path of the model, a ``checkpoint`` of re-ranker ``csa``. With ``resume`` the run goes
    on from the checkpoint in ``out`` as if it had never ended: on a CPU bit for bit. Raises DatasetError
    for too few images, TrainingError for a folder that can't be written, that holds another training,
    and for a loss that is no number.
    """
    if is_first():
        _prepare(out, settings, sets, resume=resume)
    source = _source(sets, settings, out / "lists")
    torch.manual_seed(settings.seed)
    loop = _Loop(make_scorer(settings), settings, source)
    log = CsvLog(out / LOG)
    with quiet_lightning():
        trainer = L.Trainer(
            accelerator=runtime.accelerator,
            devices=runtime.devices,
            strategy="ddp_find_unused_parameters_true" if runtime.devices > 1 else "auto",
            precision=PRECISIONS[settings.precision],
            max_steps=settings.steps,
            gradient_clip_val=settings.clip or None,
            callbacks=[_Watch(loop, log, out / CHECKPOINT, runtime)],
            logger=False,
            enable_checkpointing=False,  # ours go by steps
            enable_progress_bar=False,
            enable_model_summary=False,
            use_distributed_sampler=False,
            num_sanity_val_steps=0,
        )
        before = out / CHECKPOINT
        trainer.fit(loop, ckpt_path=before if before.exists() else None, weights_only=True)
    if is_first():
        save_scorer(out / WEIGHTS, loop.scorer, half=runtime.half)
    return out / WEIGHTS


def recorded_settings(out: Path) -> RerankerSettings:
    """What the training in a folder was started with. Raises TrainingError where there is none."""
    try:
        record = json.loads((out / RECORD).read_text(encoding="utf-8"))
        return RerankerSettings.from_dict(record["settings"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{out} holds no training to resume; start it without resuming") from error


def make_scorer(settings: RerankerSettings) -> ShortlistScorer:
    """An untrained scorer; its weights come from torch's global generator."""
    sizes = ContextSizes(
        n_anchors=settings.n_anchors,
        width=settings.width,
        depth=settings.depth,
        heads=settings.heads,
        hidden=settings.hidden,
    )
    network = ContextNetwork(sizes, dropout=settings.dropout)
    if settings.method == "published":
        return PublishedScorer(network)
    return ExpandedScorer(network, ExpansionView(settings.neighbors, settings.alpha))


def shortlist_losses(
    scorer: ShortlistScorer, batch: ShortlistBatch, settings: RerankerSettings
) -> dict[str, Tensor]:
    """Every term of the loss, weighted."""
    inputs = scorer.inputs(batch.queries, batch.candidates)  # (B, 1 + K, L)
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
    if settings.lists == "whole":
        return WholeLists(
            sets, k=settings.candidates, batch_size=settings.batch_size, seed=settings.seed, cache=cache
        )
    return DrawnLists(
        sets,
        k=settings.candidates,
        batch_size=settings.batch_size,
        seed=settings.seed,
        variation=settings.variation,
    )


def _prepare(out: Path, settings: RerankerSettings, sets: Sequence[Descriptors], *, resume: bool) -> None:
    """Make the folder, or see that it is that of the same training."""
    data = {s.name: {"images": len(s.labels), "views": sorted(s.views)} for s in sets}
    record = {"settings": settings.to_dict(), "data": data}
    file = out / RECORD
    if resume:
        recorded_settings(out)
        if json.loads(file.read_text(encoding="utf-8")) != record:
            raise TrainingError(
                f"the training in {out} was started with other settings or data; resume it with the same, "
                "or start another in a new folder"
            )
        return
    try:
        out.mkdir(parents=True, exist_ok=True)
        if any(out.iterdir()):
            raise TrainingError(f"{out} is not empty; resume the training there, or choose a new folder")
        file.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise TrainingError(f"nothing can be written to {out}: {error}; choose another folder") from error


@final
class _Steps(IterableDataset[ShortlistBatch]):
    """Batches from one step to the end."""

    def __init__(self, source: ShortlistSource, steps: range, process: int, n_processes: int) -> None:
        self._source, self._steps = source, steps
        self._process, self._n_processes = process, n_processes

    def __iter__(self) -> Any:
        for step in self._steps:
            batch = self._source.batch(step, self._process, self._n_processes)
            yield {"queries": batch.queries, "candidates": batch.candidates, "relevant": batch.relevant}


@final
class _Loop(L.LightningModule):  # type: ignore[misc]
    """The training step; everything random in it follows from seed and step."""

    def __init__(self, scorer: ShortlistScorer, settings: RerankerSettings, source: ShortlistSource) -> None:
        super().__init__()
        self.scorer, self.settings, self._source = scorer, settings, source
        self.last_terms: dict[str, float] = {}

    def train_dataloader(self) -> DataLoader[ShortlistBatch]:
        steps = range(self.global_step, self.settings.steps)
        return DataLoader(
            _Steps(self._source, steps, self.global_rank, self.trainer.world_size), batch_size=None
        )

    def training_step(self, batch: dict[str, Tensor], batch_index: int) -> Tensor:
        torch.manual_seed(hash((self.settings.seed, self.global_step, self.global_rank)) % 2**63)
        terms = shortlist_losses(self.scorer, ShortlistBatch(**batch), self.settings)
        loss: Tensor = torch.stack(list(terms.values())).sum()
        self.last_terms = {name: float(term.detach()) for name, term in terms.items()}
        if not math.isfinite(float(loss.detach())):
            raise TrainingError(
                f"the loss became {float(loss.detach())} at step {self.global_step + 1} of "
                f"{self.settings.steps}; lower the rate or clip the gradient, and look at the data"
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
        schedule = LambdaLR(optimizer, self.rate_factor)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def rate_factor(self, step: int) -> float:
        """What the learning rate of a step is multiplied by: up along a line, down along a cosine."""
        warm_up, steps = self.settings.warm_up, self.settings.steps
        if step < warm_up:
            return (step + 1) / warm_up
        return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(steps - warm_up, 1)))


@final
class _Watch(L.Callback):  # type: ignore[misc]
    """Curves, checkpoints and progress."""

    def __init__(self, loop: _Loop, log: CsvLog, checkpoint: Path, runtime: RerankerRunning) -> None:
        self._loop, self._log, self._checkpoint, self._runtime = loop, log, checkpoint, runtime
        self._begun, self._first_step = 0.0, 0

    def on_train_start(self, trainer: L.Trainer, module: L.LightningModule) -> None:
        self._begun, self._first_step = time.perf_counter(), trainer.global_step
        if trainer.is_global_zero:
            self._log.begin(self._first_step)

    def on_train_batch_end(
        self, trainer: L.Trainer, module: L.LightningModule, outputs: object, batch: object, index: int
    ) -> None:
        step, loss = trainer.global_step, sum(self._loop.last_terms.values())
        if step % KEPT_EVERY == 0 or step == self._loop.settings.steps:
            trainer.save_checkpoint(self._checkpoint)
        if not trainer.is_global_zero:
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        self._log.add({"step": step, "loss": loss} | self._loop.last_terms | {"rate": rate})
        if self._runtime.on_progress:
            self._runtime.on_progress(self._progress(step, loss))

    def _progress(self, step: int, loss: float) -> RerankerProgress:
        per_step = max(time.perf_counter() - self._begun, 1e-9) / max(step - self._first_step, 1)
        settings = self._loop.settings
        return RerankerProgress(
            step, settings.steps, loss, settings.batch_size / per_step, per_step * (settings.steps - step)
        )
