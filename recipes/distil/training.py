"""Training of a bundled model: blocks one after the other where the settings ask for it, then the whole.

A run that is started again continues with the last finished block or checkpoint.
"""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from .batches import Batch, prefetched
from .blocks import load_finished_blocks, train_blocks
from .losses import batch_losses
from .material import Material, batch_stream, block_pictures
from .pictures import read_all_squashed
from .refit import pooled_channels, refit_head
from .rooms import Memory
from .settings import Settings
from .students import Student, build_student, export, grid_of
from .validation import Validation

LOG_EVERY = 50  # steps
LARGEST_GRADIENT = 5.0  # norm over all weights


def distil(settings: Settings, shared: Path, out: Path, until: int | None = None) -> None:
    """Train the model that the settings describe; it lies in OUT/export.

    ``until`` stops the second part after so many steps; the same call without it goes on from there.
    """
    out.mkdir(parents=True, exist_ok=True)
    (out / "settings.json").write_text(json.dumps(asdict(settings), indent=2) + "\n")
    material = Material.read(shared, out, settings)
    torch.manual_seed(settings.seed)
    student = build_student(settings.student, settings.hint, for_training=True)
    _train_blocks(student, material, settings, out)
    trainer = Trainer(student, settings, out)
    if trainer.step == 0:
        report({"step": 0} | material.validation.check(student), out / "log.jsonl")
    size = settings.student.input_size
    batches = batch_stream(material, out, settings, grid_of(student, size), grid_of(trainer.averaged, size))
    last = settings.steps if until is None else min(until, settings.steps)
    train(trainer, prefetched(batches.from_step(trainer.step)), material.validation, last)
    if settings.refit and trainer.step == settings.steps:
        _refit(trainer, material)


def _train_blocks(student: Student, material: Material, settings: Settings, out: Path) -> None:
    if settings.blocks is None:
        return
    taught = (student, material.teacher, material.projection)
    if load_finished_blocks(*taught, out / "blocks"):
        return
    pictures = block_pictures(
        material, settings.student.input_size, settings.blocks.n_augmented, settings.seed
    )
    held_out = material.validation.pictures
    train_blocks(*taught, pictures, held_out, settings.blocks, out / "blocks", settings.seed)


def _refit(trainer: Trainer, material: Material) -> None:
    settings, student = trainer.settings, trainer.averaged
    whole = read_all_squashed(material.train.paths, settings.student.input_size)
    channels = pooled_channels(student, (batch.float() / 255 for batch in whole.split(64)))
    refit_head(student, channels, material.target)
    export(student, settings.name, settings.student, trainer.out / "export")
    report({"step": trainer.step} | material.validation.check(student), trainer.out / "refit.jsonl")


class Trainer:
    """State that a checkpoint holds: network, averaged network, optimizer, remembered rooms, step."""

    def __init__(self, student: Student, settings: Settings, out: Path) -> None:
        self.out, self.settings, self.network = out, settings, student
        self.averaged = build_student(settings.student, settings.hint, for_training=False)
        self.averaged.requires_grad_(False).load_state_dict(student.state_dict())
        self.optimizer = torch.optim.AdamW(
            _parameter_groups(student, settings.weight_decay), lr=settings.learning_rate, betas=settings.betas
        )
        self.memory = Memory(settings.student.dims)
        self.step, self.seconds = 0, 0.0
        if (out / "checkpoint.pt").exists():
            self._load(torch.load(out / "checkpoint.pt", weights_only=True))
        # one worker thread each, with its own gradients; the weights are the same memory
        self.replicas = [student, *(_replica(student) for _ in range(settings.workers - 1))]
        self.fine = [_fine_twin(replica, settings) for replica in self.replicas]
        self.pool = ThreadPoolExecutor(settings.workers, initializer=torch.set_num_threads, initargs=(1,))

    def _load(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.memory.add(state["rooms"], state["room_numbers"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Write checkpoint and export. The checkpoint is replaced in one step."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rooms": self.memory.embeddings,
            "room_numbers": self.memory.numbers,
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.out / "checkpoint.part")
        (self.out / "checkpoint.part").replace(self.out / "checkpoint.pt")
        export(self.averaged, self.settings.name, self.settings.student, self.out / "export")

    def learn(self, batch: Batch) -> dict[str, float]:
        """Take one step; return its losses by name."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        parts = batch.split(self.settings.workers)
        learned = list(self.pool.map(self._gradients, self.replicas, self.fine, parts))
        for (_, unit), part in zip(learned, parts, strict=True):
            if part.rooms is not None:
                self.memory.add(unit.flatten(0, 1), part.rooms.numbers.repeat_interleave(2))
        for own, *others in zip(*(replica.parameters() for replica in self.replicas), strict=True):
            if own.grad is not None:
                own.grad = sum((other.grad for other in others), own.grad) / len(parts)
        nn.utils.clip_grad_norm_(self.network.parameters(), LARGEST_GRADIENT)
        self.optimizer.step()
        self._average()
        self.step += 1
        return {name: sum(losses[name] for losses, _ in learned) / len(parts) for name in learned[0][0]}

    def _gradients(
        self, network: Student, fine: Student | None, batch: Batch
    ) -> tuple[dict[str, float], Tensor]:
        """Leave the gradients of a part of a batch in the network; return its losses and rooms.

        BatchNorm keeps its statistics: the blocks, or the frozen stem, brought them along.
        """
        network.eval().zero_grad()
        if fine is not None:
            fine.eval()
        losses, unit = batch_losses(network, fine, batch, self.memory, self.settings)
        sum(losses.values(), torch.zeros(())).backward()  # type: ignore[no-untyped-call]
        return {name: float(loss.detach()) for name, loss in losses.items()}, unit

    @torch.no_grad()
    def _average(self) -> None:
        # a short memory at first, so that early exports are not the random start
        keep = min(self.settings.averaging, (self.step + 1) / (self.step + 10))
        current = self.network.state_dict()
        for name, value in self.averaged.state_dict().items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - keep)
            else:
                value.copy_(current[name])


def train(trainer: Trainer, batches: Iterator[Batch], validation: Validation, last: int) -> None:
    """Take the steps that are left up to ``last``; losses and metrics go to log.jsonl."""
    sums: dict[str, float] = {}
    begun, n = time.perf_counter(), 0
    while trainer.step < last:
        for name, value in trainer.learn(next(batches)).items():
            sums[name] = sums.get(name, 0.0) + value
        n += 1
        is_checked = trainer.step % trainer.settings.check_every == 0 or trainer.step == last
        if trainer.step % LOG_EVERY and not is_checked:
            continue
        trainer.seconds += time.perf_counter() - begun
        begun = time.perf_counter()
        row: dict[str, float] = {
            "step": trainer.step,
            "steps": trainer.settings.steps,
            "seconds": round(trainer.seconds),
        }
        row |= {name: value / n for name, value in sums.items()}
        sums, n = {}, 0
        if is_checked:
            row |= validation.check(trainer.averaged)
            trainer.save()
        report(row, trainer.out / "log.jsonl")


def report(row: dict[str, float], path: Path) -> None:
    """Print a row of metrics and append it to a log, with four decimals."""
    line = json.dumps({name: round(value, 4) for name, value in row.items()})
    print(line, flush=True)
    with path.open("a") as log:
        log.write(line + "\n")


def _parameter_groups(student: Student, weight_decay: float) -> list[dict[str, Any]]:
    """Parameters that learn; matrices and kernels only are decayed."""
    learning = [p for p in student.parameters() if p.requires_grad]
    return [
        {"params": [p for p in learning if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in learning if p.ndim <= 1], "weight_decay": 0.0},
    ]


def _replica(student: Student) -> Student:
    replica = copy.deepcopy(student)
    for own, shared in zip(replica.parameters(), student.parameters(), strict=True):
        own.data = shared.data
    return replica


def _fine_twin(student: Student, settings: Settings) -> Student | None:
    """The same weights and gradients on the grid that ships, where rooms are trained on."""
    if not settings.n_room_pairs:
        return None
    twin = build_student(settings.student, settings.hint, for_training=False)
    for own, shared in zip(twin.modules(), student.modules(), strict=True):
        own._parameters, own._buffers = shared._parameters, shared._buffers
    return twin
