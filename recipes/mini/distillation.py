"""What is asked of the student at each step: batches with the teacher's answer, and the loss."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from augmentation import MILD, STRONG, augmented_batch
from teacher import Maps, Projection, Standardisation, Teacher
from torch import Tensor

AHEAD = 4  # lessons prepared while the student learns
MIRRORED_AFTER, AGAIN_AFTER = 16, 40  # steps after which pictures are seen a second and a third time
SOURCE_SHARES = {"caltech101": 0.45, "grocery": 0.25, "clothing": 0.16, "scenes": 0.14}
HINT_WEIGHT, RELATION_WEIGHT = 0.3, 0.5


@dataclass(frozen=True)
class Lesson:
    """Pictures for the student and what the teacher sees in them."""

    pictures: Tensor  # (B, 3, H, W) float RGB in [0, 1]
    local: Tensor  # (B, D, h, w) projected last map
    stages: dict[int, Tensor]  # stride -> (B, C, h, w) on the student's grid, standardised

    def mirrored(self) -> Lesson:
        stages = {stride: stage.flip(3) for stride, stage in self.stages.items()}
        return Lesson(self.pictures.flip(3), self.local.flip(3), stages)


@dataclass(frozen=True)
class Lessons:
    """An endless, seeded course: step s is the same whether or not the run was interrupted."""

    pictures: dict[str, Sequence[Tensor]]  # by source
    teacher: Teacher
    projection: Projection
    standardisation: Standardisation
    input_size: tuple[int, int]
    small_size: tuple[int, int]  # of the first small_steps steps: cheaper, and enough to begin with
    small_steps: int
    strong_steps: int  # of strong augmentation, before the mild one
    n_fresh: int
    seed: int

    def from_step(self, first: int) -> Iterator[Lesson]:
        """Each step: new pictures, those of some steps ago mirrored, and older ones again."""
        past = deque((self._fresh(step) for step in range(max(0, first - AGAIN_AFTER), first)), AGAIN_AFTER)
        for step in itertools.count(first):
            lesson = fresh = self._fresh(step)
            if step >= MIRRORED_AFTER:
                lesson = joined(lesson, past[-MIRRORED_AFTER].mirrored())
            if step >= AGAIN_AFTER:
                lesson = joined(lesson, past[-AGAIN_AFTER])
            past.append(fresh)
            yield lesson

    def size_at(self, step: int) -> tuple[int, int]:
        """Of the student's pictures; (h, w) pixels."""
        return self.small_size if step < self.small_steps else self.input_size

    def _fresh(self, step: int) -> Lesson:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        strength = STRONG if step < self.strong_steps else MILD
        batch = augmented_batch(self._sources(generator), self.n_fresh, strength, generator)
        maps = self.teacher.maps(batch)
        size = self.size_at(step)
        return Lesson(
            F.interpolate(batch, size, mode="bilinear", antialias=True),
            self.projection(maps.local),
            self._on_grid(maps, size),
        )

    def _sources(self, generator: torch.Generator) -> list[Tensor]:
        """As many pictures as a batch can use, drawn from the sources by their shares."""
        names = sorted(self.pictures)
        shares = torch.tensor([SOURCE_SHARES[name] for name in names])
        drawn = torch.multinomial(shares, 4 * self.n_fresh, replacement=True, generator=generator)
        places = torch.rand(len(drawn), generator=generator)
        rows = [self.pictures[names[i]] for i in drawn.tolist()]
        return [row[int(place * len(row))] for row, place in zip(rows, places.tolist(), strict=True)]

    def _on_grid(self, maps: Maps, size: tuple[int, int]) -> dict[int, Tensor]:
        height, width = size
        return {
            stride: F.interpolate(stage, (height // stride, width // stride), mode="bilinear", antialias=True)
            for stride, stage in self.standardisation(maps.stages).items()
        }


def prepared_ahead(lessons: Iterator[Lesson]) -> Iterator[Lesson]:
    """The same lessons in the same order, made by one thread beside the learning."""
    ready: queue.Queue[Lesson] = queue.Queue(AHEAD)

    def prepare() -> None:
        torch.set_num_threads(1)  # of this thread's operations only
        for lesson in lessons:
            ready.put(lesson)

    threading.Thread(target=prepare, daemon=True).start()
    while True:
        yield ready.get()


def joined(first: Lesson, second: Lesson) -> Lesson:
    """Two lessons as one batch; only the first where the sizes differ."""
    if first.pictures.shape[2:] != second.pictures.shape[2:]:
        return first
    stages = {stride: torch.cat((stage, second.stages[stride])) for stride, stage in first.stages.items()}
    return Lesson(
        torch.cat((first.pictures, second.pictures)), torch.cat((first.local, second.local)), stages
    )


def parted(lesson: Lesson, n: int) -> list[Lesson]:
    """A lesson as N smaller ones."""
    stages = {stride: stage.chunk(n) for stride, stage in lesson.stages.items()}
    return [
        Lesson(pictures, local, {stride: stage[i] for stride, stage in stages.items()})
        for i, (pictures, local) in enumerate(
            zip(lesson.pictures.chunk(n), lesson.local.chunk(n), strict=True)
        )
    ]


def losses(local: Tensor, read: dict[int, Tensor], lesson: Lesson) -> dict[str, Tensor]:
    """The parts of the loss, weighted; each is about 1 for a student that says nothing."""
    target = lesson.local
    gridded = F.adaptive_avg_pool2d(local, target.shape[2:])
    pooled, pooled_target = local.mean((2, 3)), target.mean((2, 3))
    unit, unit_target = F.normalize(pooled, dim=1), F.normalize(pooled_target, dim=1)
    relations, wanted = unit @ unit.T, unit_target @ unit_target.T
    parts = {
        "local": _relative(gridded, target),
        "pooled": _relative(pooled, pooled_target),
        "cosine": 1 - (unit * unit_target).sum(1).mean(),
        "relation": RELATION_WEIGHT * _relative(relations, wanted),
    }
    for stride, stage in read.items():
        parts[f"hint_{stride}"] = HINT_WEIGHT * F.mse_loss(stage, lesson.stages[stride])
    return parts


def _relative(value: Tensor, target: Tensor) -> Tensor:
    return (value - target).square().mean() / target.square().mean()
