"""Make the bundled model ``mini``: distil the ImageNet MobileNetV2 into a small network, on a CPU.

    uv run python recipes/mini/train.py --shared ../shared --out runs/mini

Run the same command again after an interruption: it goes on from the last checkpoint. The last line
of ``log.jsonl`` tells how far it is; the exported model lies in OUT/export.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from distillation import (
    STAGE_WEIGHT_APART,
    STAGE_WEIGHT_TOGETHER,
    Lesson,
    Lessons,
    losses,
    parted,
    prepared_ahead,
)
from generated_scenes import generate
from pictures import LabelledFiles, read_all, read_all_squashed, shared_default, split_training
from refit import pooled_channels, refit_head
from rooms import Memory, RoomPairs, contrast
from student import Architecture, Student, export
from teacher import INPUT_SIZE, Interfaces, Projection, Teacher
from torch import Tensor, nn
from validation import Validation, recall_at_1

WORKERS = 2  # threads that learn, each on its part of the batch: they wait for each other once a step


@dataclass(frozen=True)
class Settings:
    """The whole recipe in numbers; saved beside the model."""

    steps: int = 2400  # with teacher and student at the same size
    apart: int = 1000  # first steps, in which each stage is given what the teacher says before it
    fine_steps: int = 0  # after them, if wanted: student at the size of use, teacher at its own
    warm_up: int = 100  # steps of rising learning rate
    decay: float = 0.375  # share of the steps, at the end, over which the learning rate falls to zero
    n_fresh: int = 32  # new pictures a step; as many are seen again
    n_room_pairs: int = 12  # a step, in the fine steps
    room_weight: float = 0.15  # of finding the other room with the same painting
    picture_size: tuple[int, int] = (128, 128)  # in training, for teacher and student
    learning_rate: float = 3e-3
    weight_decay: float = 0.01
    averaging: float = 0.995  # of the weights that are exported
    whitening: float = 0.25  # of the target: principal components are divided by deviation ** whitening
    seed: int = 0
    check_every: int = 250  # steps between validation, export and checkpoint

    @property
    def all_steps(self) -> int:
        return self.steps + self.fine_steps

    def rate(self, step: int) -> float:
        """Learning rate: rise, stay, fall; once more, half as high, in the fine steps."""
        if step >= self.steps:
            return 0.5 * self._rate(step - self.steps, self.fine_steps)
        return self._rate(step, self.steps)

    def _rate(self, step: int, steps: int) -> float:
        falling = (steps - step) / (self.decay * steps)
        return self.learning_rate * min(1.0, (step + 1) / self.warm_up, max(falling, 1e-3))


def fitted_projection(teacher: Teacher, files: LabelledFiles, settings: Settings, path: Path) -> Projection:
    """Principal components over all training photographs; computed once, kept in PATH."""
    if not path.exists():
        torch.save(pooled_features(teacher, read_all_squashed(files.paths, INPUT_SIZE)), path)
    return Projection(torch.load(path, weights_only=True), Architecture().dims, settings.whitening)


def pooled_features(teacher: Teacher, pictures: Tensor) -> Tensor:
    return torch.cat([teacher.pooled(batch.float() / 255) for batch in pictures.split(64)])


def validation_set(
    teacher: Teacher, projection: Projection, files: LabelledFiles, size: tuple[int, int]
) -> Validation:
    names = sorted(set(files.labels))
    target = projection(pooled_features(teacher, read_all_squashed(files.paths, INPUT_SIZE)))
    labels = torch.tensor([names.index(label) for label in files.labels])
    print(f"teacher's Recall@1 on the held-out classes: {recall_at_1(target, labels):.4f}", flush=True)
    return Validation(read_all_squashed(files.paths, size), labels, target)


def prepare_lessons(
    shared: Path, out: Path, architecture: Architecture, settings: Settings
) -> tuple[Lessons, Validation]:
    """Read all pictures, generate the scenes, ask the teacher for the target's statistics."""
    teacher = Teacher(shared)
    train, held_out = split_training(shared)
    projection = fitted_projection(teacher, train, settings, out / "teacher_pooled.pt")
    validation = validation_set(teacher, projection, held_out, architecture.input_size)
    scenes = generate(out / "scenes")
    pictures: dict[str, list[Tensor]] = {"scenes": read_all(scenes)}
    for picture, label in zip(read_all(train.paths), train.labels, strict=True):
        pictures.setdefault(label.split("/")[0], []).append(picture)
    print({name: len(row) for name, row in pictures.items()}, flush=True)
    sample = read_all_squashed(train.paths[:: len(train.paths) // 512], settings.picture_size)
    interfaces = Interfaces(
        teacher, Student(architecture).widths, (batch.float() / 255 for batch in sample.split(64))
    )
    lessons = Lessons(
        pictures,
        teacher,
        projection,
        interfaces,
        size=settings.picture_size,
        fine_size=architecture.input_size,
        fine_from=settings.steps,
        grid=tuple(-(-side // 32) for side in architecture.input_size),
        n_fresh=settings.n_fresh,
        seed=settings.seed,
        room_pairs=RoomPairs.read(scenes, architecture.input_size),
        n_room_pairs=settings.n_room_pairs,
    )
    return lessons, validation


class Run:
    """The state that a checkpoint holds: network, averaged network, optimiser, step."""

    def __init__(self, out: Path, architecture: Architecture, settings: Settings) -> None:
        torch.manual_seed(settings.seed)
        self.out, self.architecture, self.settings = out, architecture, settings
        self.network = Student(architecture, output_stride=32)
        self.averaged = Student(architecture).requires_grad_(False)  # with the fine grid
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimiser = torch.optim.AdamW(self._groups(), lr=settings.learning_rate, betas=(0.9, 0.99))
        # each worker has its own gradients; the weights are the same memory
        self.replicas = [self.network, *(copy.deepcopy(self.network) for _ in range(WORKERS - 1))]
        self.memory = Memory(architecture.dims)
        self.pool = ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(1,))
        self.step = 0
        self.seconds = 0.0
        if (out / "checkpoint.pt").exists():
            self._resume(torch.load(out / "checkpoint.pt", weights_only=True))
        for replica in self.replicas[1:]:
            for own, shared in zip(replica.parameters(), self.network.parameters(), strict=True):
                own.data = shared.data

    def _groups(self) -> list[dict[str, Any]]:
        """Weight decay for matrices and kernels only."""
        matrices = [p for p in self.network.parameters() if p.ndim > 1]
        vectors = [p for p in self.network.parameters() if p.ndim <= 1]
        return [
            {"params": matrices, "weight_decay": self.settings.weight_decay},
            {"params": vectors, "weight_decay": 0.0},
        ]

    def _resume(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Checkpoint and export; complete or not at all."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.out / "checkpoint.part")
        (self.out / "checkpoint.part").replace(self.out / "checkpoint.pt")
        export(self.averaged, self.architecture, self.out / "export")

    def learn(self, lessons: Iterator[Lesson]) -> dict[str, float]:
        """One step; the parts of its loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(self.step)
        studied_parts = list(
            self.pool.map(
                studied,
                self.replicas,
                parted(next(lessons), WORKERS),
                [self.step < self.settings.apart] * WORKERS,
                [self.memory] * WORKERS,
                [self.settings.room_weight] * WORKERS,
            )
        )
        for _, rooms in studied_parts:
            if rooms is not None:
                self.memory.add(*rooms)
        parts = [part for part, _ in studied_parts]
        for shared, *others in zip(*(replica.parameters() for replica in self.replicas), strict=True):
            shared.grad = sum((other.grad for other in others), shared.grad) / WORKERS
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimiser.step()
        self._average()
        self.step += 1
        return {name: sum(part[name] for part in parts) / WORKERS for name in parts[0]}

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


def studied(
    network: Student, lesson: Lesson, apart: bool, memory: Memory, room_weight: float
) -> tuple[dict[str, float], tuple[Tensor, Tensor] | None]:
    """The gradients of a part of a batch, left in the network; its losses, and rooms to remember."""
    network.train()
    network.zero_grad()
    rooms = None
    if apart:
        said, local = network.stages_apart(lesson.pictures, lesson.stages)
        parts = losses(said, local, lesson, STAGE_WEIGHT_APART)
    elif lesson.rooms is None:
        said, local = network.stages_together(lesson.pictures)
        parts = losses(said, local, lesson, STAGE_WEIGHT_TOGETHER)
    else:
        pairs, numbers = lesson.rooms
        local = network(torch.cat((lesson.pictures, pairs.flatten(0, 1))))
        local, of_rooms = local.split((len(lesson.pictures), 2 * len(pairs)))
        parts = losses([], local, lesson, 0.0)
        loss, unit = contrast(of_rooms.mean((2, 3)).unflatten(0, (-1, 2)), numbers, memory)
        parts["rooms"] = room_weight * loss
        rooms = unit.flatten(0, 1), numbers.repeat_interleave(2)
    sum(parts.values()).backward()
    return {name: float(part.detach()) for name, part in parts.items()}, rooms


def train(shared: Path, out: Path, settings: Settings) -> None:
    out.mkdir(parents=True, exist_ok=True)
    architecture = Architecture()
    (out / "settings.json").write_text(json.dumps(asdict(settings) | asdict(architecture), indent=2) + "\n")
    course, validation = prepare_lessons(shared, out, architecture, settings)
    run = Run(out, architecture, settings)
    lessons = prepared_ahead(course.from_step(run.step))
    sums: dict[str, float] = {}
    begun, n = time.perf_counter(), 0
    while run.step < settings.all_steps:
        for name, value in run.learn(lessons).items():
            sums[name] = sums.get(name, 0.0) + value
        n += 1
        if run.step % 50 and run.step < settings.all_steps:
            continue
        run.seconds += time.perf_counter() - begun
        begun = time.perf_counter()
        row: dict[str, float] = {"step": run.step, "steps": settings.all_steps, "seconds": round(run.seconds)}
        row |= rounded({name: value / n for name, value in sums.items()})
        sums, n = {}, 0
        if run.step % settings.check_every == 0 or run.step == settings.all_steps:
            row |= rounded(validation.check(run.averaged))
            run.save()
        report(row, out / "log.jsonl")
    finish(run.averaged, course.projection, shared, out)
    export(run.averaged, architecture, out / "export")
    report({"step": run.step} | rounded(validation.check(run.averaged)), out / "refit.jsonl")


def finish(student: Student, projection: Projection, shared: Path, out: Path) -> None:
    """Fit the head to what the teacher says of the whole training photographs at its own size."""
    train, _ = split_training(shared)
    pictures = read_all_squashed(train.paths, Architecture().input_size)
    target = projection(torch.load(out / "teacher_pooled.pt", weights_only=True))
    channels = pooled_channels(student, (batch.float() / 255 for batch in pictures.split(64)))
    refit_head(student, channels, target)


def rounded(values: dict[str, float]) -> dict[str, float]:
    return {name: round(value, 4) for name, value in values.items()}


def report(row: dict[str, float], path: Path) -> None:
    print(json.dumps(row), flush=True)
    with path.open("a") as log:
        log.write(json.dumps(row) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=shared_default(), help="data and teacher weights")
    parser.add_argument("--out", type=Path, default=Path("runs/mini"))
    parser.add_argument("--steps", type=int, default=Settings().steps)
    parser.add_argument("--fine-steps", type=int, default=Settings().fine_steps)
    arguments = parser.parse_args()
    torch.set_flush_denormal(True)
    train(arguments.shared, arguments.out, Settings(steps=arguments.steps, fine_steps=arguments.fine_steps))


if __name__ == "__main__":
    main()
