"""Make the bundled model ``mini``: distil the ImageNet MobileNetV2 into a small network, on a CPU.

    uv run python recipes/mini/train.py --shared ../shared --out runs/mini

Two parts: the student's blocks one after the other (``blocks.py``), then the whole (``distillation.py``,
``rooms.py``). Run the same command again after an interruption: it goes on from the last block or
checkpoint. The last line of the logs tells how far it is; the exported model lies in OUT/export.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from augmentation import augmented_batch
from blocks import BlockSettings, learn_blocks, recall_blocks
from distillation import Lesson, Lessons, losses, parted, prepared_ahead
from generated_scenes import generate
from pictures import LabeledFiles, read_all, read_all_squashed, shared_default, split_training
from rooms import Memory, RoomPairs, Rooms, contrast, elsewhere
from student import Architecture, Student, export
from teacher import INPUT_SIZE, Projection, Teacher
from torch import Tensor, nn
from validation import Validation, recall_at_1

WORKERS = 2  # threads that learn, each on its part of the batch: they wait for each other once a step
STAGE_WEIGHT, FRAMED_WEIGHT, CONTRAST_WEIGHT, ELSEWHERE_WEIGHT = 0.05, 0.5, 0.15, 0.4


@dataclass(frozen=True)
class Settings:
    """The whole recipe in numbers; saved beside the model."""

    blocks: BlockSettings = field(default_factory=BlockSettings)
    n_augmented: int = 10_000  # pictures for the blocks, beside the photographs as they are
    steps: int = 1300  # of the whole
    warm_up: int = 100  # steps of rising learning rate
    n_fresh: int = 24  # new pictures a step; as many are seen again
    n_framed: int = 12  # of the new ones, shown on a wall as well
    n_room_pairs: int = 8  # a step
    learning_rate: float = 5e-4
    weight_decay: float = 0.01
    averaging: float = 0.995  # of the weights that are exported
    whitening: float = 0.25  # of the target: principal components are divided by deviation ** whitening
    seed: int = 0
    check_every: int = 200  # steps between validation, export and checkpoint

    def rate(self, step: int) -> float:
        """Learning rate: rise, then fall to zero."""
        return self.learning_rate * min((step + 1) / self.warm_up, (self.steps - step) / self.steps)


@dataclass(frozen=True)
class Material:
    """What both parts learn from."""

    teacher: Teacher
    projection: Projection
    train: LabeledFiles
    photographs: list[Tensor]  # uint8 (3, H, W) each
    held_out: Tensor  # uint8 (B, 3, h, w) at the student's input size
    validation: Validation

    @classmethod
    def read(cls, shared: Path, out: Path, architecture: Architecture, settings: Settings) -> Material:
        teacher = Teacher(shared)
        train, held_out = split_training(shared)
        projection = fitted_projection(teacher, train, settings, out / "teacher_pooled.pt")
        validation = validation_set(teacher, projection, held_out, architecture.input_size)
        photographs = read_all(train.paths)
        return cls(teacher, projection, train, photographs, validation.pictures, validation)


def fitted_projection(teacher: Teacher, files: LabeledFiles, settings: Settings, path: Path) -> Projection:
    """Principal components over all training photographs; computed once, kept in PATH."""
    if not path.exists():
        torch.save(pooled_features(teacher, read_all_squashed(files.paths, INPUT_SIZE)), path)
    return Projection(torch.load(path, weights_only=True), Architecture().dims, settings.whitening)


def pooled_features(teacher: Teacher, pictures: Tensor) -> Tensor:
    return torch.cat([teacher.pooled(batch.float() / 255) for batch in pictures.split(64)])


def validation_set(
    teacher: Teacher, projection: Projection, files: LabeledFiles, size: tuple[int, int]
) -> Validation:
    names = sorted(set(files.labels))
    target = projection(pooled_features(teacher, read_all_squashed(files.paths, INPUT_SIZE)))
    labels = torch.tensor([names.index(label) for label in files.labels])
    print(f"teacher's Recall@1 on the held-out classes: {recall_at_1(target, labels):.4f}", flush=True)
    return Validation(read_all_squashed(files.paths, size), labels, target)


def bank_of_pictures(material: Material, size: tuple[int, int], settings: Settings) -> Tensor:
    """The photographs as they are, and augmented ones: uint8 (B, 3, *size), in random order."""
    generator = torch.Generator().manual_seed(settings.seed)
    batches = [read_all_squashed(material.train.paths, size)]
    for _ in range(settings.n_augmented // 64):
        batch = augmented_batch(material.photographs, 64, generator)
        small = F.interpolate(batch, size, mode="bilinear", antialias=True)
        batches.append(small.mul(255).round().byte())
    pictures = torch.cat(batches)
    return pictures[torch.randperm(len(pictures), generator=generator)]


def lessons_of(material: Material, out: Path, architecture: Architecture, settings: Settings) -> Lessons:
    """The course of the second part: photographs, and rooms that are generated for it."""
    scenes = generate(out / "scenes")
    paintings = [path for path in scenes if path.name.startswith("painting_")]
    pictures: dict[str, list[Tensor]] = {"paintings": read_all(paintings)}
    for picture, label in zip(material.photographs, material.train.labels, strict=True):
        pictures.setdefault(label.split("/")[0], []).append(picture)
    print({name: len(row) for name, row in pictures.items()}, flush=True)
    size = architecture.input_size
    return Lessons(
        pictures,
        material.teacher,
        material.projection,
        told=tuple,
        teacher_size=size,
        size=size,
        grid=(-(-size[0] // 32), -(-size[1] // 32)),
        n_fresh=settings.n_fresh,
        seed=settings.seed,
        n_framed=settings.n_framed,
        room_pairs=RoomPairs.read(scenes, size, (size[0] // 16, size[1] // 16)),
        n_room_pairs=settings.n_room_pairs,
    )


class Run:
    """The state that a checkpoint holds: network, averaged network, optimizer, step."""

    def __init__(self, out: Path, architecture: Architecture, settings: Settings, start: Student) -> None:
        self.out, self.architecture, self.settings = out, architecture, settings
        self.network = start
        self.averaged = Student(architecture).requires_grad_(False)  # with the fine grid
        self.averaged.load_state_dict(self.network.state_dict())
        self.optimizer = torch.optim.AdamW(self._groups(), lr=settings.learning_rate, betas=(0.9, 0.99))
        self.memory = Memory(architecture.dims)
        self.pool = ThreadPoolExecutor(WORKERS, initializer=torch.set_num_threads, initargs=(1,))
        self.step = 0
        self.seconds = 0.0
        if (out / "checkpoint.pt").exists():
            self._resume(torch.load(out / "checkpoint.pt", weights_only=True))
        # each worker has its own gradients; the weights are the same memory
        self.replicas = [self.network, *(copy.deepcopy(self.network) for _ in range(WORKERS - 1))]
        for replica in self.replicas[1:]:
            for own, shared in zip(replica.parameters(), self.network.parameters(), strict=True):
                own.data = shared.data
        self.fine = [fine_twin(replica, architecture) for replica in self.replicas]

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
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]

    def save(self) -> None:
        """Checkpoint and export; complete or not at all."""
        state = {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
        }
        torch.save(state, self.out / "checkpoint.part")
        (self.out / "checkpoint.part").replace(self.out / "checkpoint.pt")
        export(self.averaged, self.architecture, self.out / "export")

    def learn(self, lessons: Iterator[Lesson]) -> dict[str, float]:
        """One step; the parts of its loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.rate(self.step)
        lesson = next(lessons)
        studied_parts = list(
            self.pool.map(studied, self.replicas, self.fine, parted(lesson, WORKERS), [self.memory] * WORKERS)
        )
        for (_, unit), part in zip(studied_parts, parted(lesson, WORKERS), strict=True):
            if part.rooms is not None:
                self.memory.add(unit.flatten(0, 1), part.rooms.numbers.repeat_interleave(2))
        parts = [part for part, _ in studied_parts]
        for shared, *others in zip(*(replica.parameters() for replica in self.replicas), strict=True):
            shared.grad = sum((other.grad for other in others), shared.grad) / WORKERS
        nn.utils.clip_grad_norm_(self.network.parameters(), 5.0)
        self.optimizer.step()
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


def fine_twin(student: Student, architecture: Architecture) -> Student:
    """The same weights and gradients with the grid of use: twice as fine as in training."""
    twin = Student(architecture)
    for own, shared in zip(twin.modules(), student.modules(), strict=True):
        own._parameters, own._buffers = shared._parameters, shared._buffers
    return twin


def studied(
    network: Student, fine: Student, lesson: Lesson, memory: Memory
) -> tuple[dict[str, float], Tensor]:
    """The gradients of a part of a batch, left in the network; its losses, and its rooms' embeddings.

    Statistics of BatchNorm stand still: the blocks brought them along.
    """
    network.eval().zero_grad()
    fine.eval()
    said, local = network.stages_together(lesson.pictures)
    parts = losses(said, local, lesson, STAGE_WEIGHT)
    if lesson.framed is not None:
        hung = network(lesson.framed).mean((2, 3))
        wanted = lesson.pooled[: len(hung)]
        parts["framed"] = FRAMED_WEIGHT * (1 - F.cosine_similarity(hung, wanted).mean())
    unit = torch.zeros(0, 2, local.shape[1])
    if lesson.rooms is not None:
        more, unit = room_losses(fine, lesson.rooms, memory)
        parts |= more
    sum(parts.values()).backward()
    return {name: float(part.detach()) for name, part in parts.items()}, unit.detach()


def room_losses(fine: Student, rooms: Rooms, memory: Memory) -> tuple[dict[str, Tensor], Tensor]:
    local = fine(rooms.pictures.flatten(0, 1)).unflatten(0, (-1, 2))  # (n, 2, D, h, w)
    unit = F.normalize(local.mean((3, 4)), dim=-1)
    parts = {
        "rooms": CONTRAST_WEIGHT * contrast(unit, rooms.numbers, memory),
        "elsewhere": ELSEWHERE_WEIGHT * elsewhere(local, rooms.covered),
    }
    return parts, unit


def train(shared: Path, out: Path, settings: Settings) -> None:
    out.mkdir(parents=True, exist_ok=True)
    architecture = Architecture()
    (out / "settings.json").write_text(json.dumps(asdict(settings) | asdict(architecture), indent=2) + "\n")
    material = Material.read(shared, out, architecture, settings)
    torch.manual_seed(settings.seed)
    student = Student(architecture, output_stride=32)
    taught = (student, material.teacher, material.projection)
    if not recall_blocks(*taught, out / "blocks"):
        learn_blocks(
            *taught,
            bank_of_pictures(material, architecture.input_size, settings),
            material.held_out,
            settings.blocks,
            out / "blocks",
            settings.seed,
        )
    if not (out / "checkpoint.pt").exists():
        report({"step": 0} | rounded(material.validation.check(student)), out / "log.jsonl")
    course = lessons_of(material, out, architecture, settings)
    run = Run(out, architecture, settings, student)
    learn(run, prepared_ahead(course.from_step(run.step)), material.validation)


def learn(run: Run, lessons: Iterator[Lesson], validation: Validation) -> None:
    """All steps that are left; metrics to log.jsonl."""
    sums: dict[str, float] = {}
    begun, n = time.perf_counter(), 0
    while run.step < run.settings.steps:
        for name, value in run.learn(lessons).items():
            sums[name] = sums.get(name, 0.0) + value
        n += 1
        if run.step % 50 and run.step < run.settings.steps:
            continue
        run.seconds += time.perf_counter() - begun
        begun = time.perf_counter()
        row: dict[str, float] = {
            "step": run.step,
            "steps": run.settings.steps,
            "seconds": round(run.seconds),
        }
        row |= rounded({name: value / n for name, value in sums.items()})
        sums, n = {}, 0
        if run.step % run.settings.check_every == 0 or run.step == run.settings.steps:
            row |= rounded(validation.check(run.averaged))
            run.save()
        report(row, run.out / "log.jsonl")


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
    parser.add_argument("--steps", type=int, default=Settings().steps, help="of the second part")
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # the workers are threads
    torch.set_flush_denormal(True)
    train(arguments.shared, arguments.out, Settings(steps=arguments.steps))


if __name__ == "__main__":
    main()
