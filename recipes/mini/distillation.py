"""What is asked of the student at each step: batches with the teacher's answer, and the loss."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from augmentation import augmented_batch
from rooms import RoomPairs
from teacher import Interfaces, Projection, Teacher
from torch import Tensor

AHEAD = 4  # lessons prepared while the student learns
AGAIN_AFTER = 16  # steps after which pictures are seen a second time
SOURCE_SHARES = {"caltech101": 0.45, "grocery": 0.25, "clothing": 0.16, "scenes": 0.14}
STAGE_WEIGHT_APART, STAGE_WEIGHT_TOGETHER, RELATION_WEIGHT = 0.5, 0.2, 0.25


@dataclass(frozen=True)
class Lesson:
    """Pictures for the student and what the teacher sees in them."""

    pictures: Tensor  # (B, 3, H, W) float RGB in [0, 1]
    local: Tensor  # (B, D, h, w) projected last map, on the student's grid
    pooled: Tensor  # (B, D) mean of the projected last map
    stages: tuple[Tensor, ...]  # (B, width, h, w) from the second stage on, in the student's widths; or none
    rooms: tuple[Tensor, Tensor] | None = None  # pairs (n, 2, 3, H, W) and their numbers


@dataclass(frozen=True)
class Lessons:
    """An endless, seeded course: step s is the same whether or not the run was interrupted."""

    pictures: dict[str, Sequence[Tensor]]  # by source
    teacher: Teacher
    projection: Projection
    interfaces: Interfaces
    size: tuple[int, int]  # of the pictures, for teacher and student; (h, w) pixels
    fine_size: tuple[int, int]  # of the student's pictures when the teacher sees them at its own size
    fine_from: int  # step from which that is so
    grid: tuple[int, int]  # of the student then; (h, w) places
    n_fresh: int
    seed: int
    hints: tuple[int, ...] = ()  # stages of the teacher that the student is told of then
    room_pairs: RoomPairs | None = None  # shown beside the teacher's pictures then
    n_room_pairs: int = 0  # a step

    def from_step(self, first: int) -> Iterator[Lesson]:
        """Each step: new pictures, and those of some steps ago again."""
        begin = self.fine_from if first >= self.fine_from else 0  # lessons of one kind are joined
        past = deque(
            (self._fresh(step) for step in range(max(begin, first - AGAIN_AFTER), first)), AGAIN_AFTER
        )
        for step in itertools.count(first):
            if step == self.fine_from:
                past.clear()
            fresh = self._fresh(step)
            lesson = joined(fresh, past[0]) if len(past) == AGAIN_AFTER else fresh
            yield self._with_rooms(lesson, step) if self.room_pairs and step >= self.fine_from else lesson
            past.append(fresh)

    def _fresh(self, step: int) -> Lesson:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        names = sorted(self.pictures)
        if step >= self.fine_from and self.room_pairs:
            names.remove("scenes")  # the teacher has another opinion of them
        batch = augmented_batch(self._sources(names, generator), self.n_fresh, generator)
        if step >= self.fine_from:
            return self._fine(batch)
        batch = F.interpolate(batch, self.size, mode="bilinear", antialias=True)
        maps = self.teacher.maps(batch)
        local = self.projection(maps.last)
        return Lesson(batch, local, local.mean((2, 3)), self.interfaces(maps.stages))

    def _fine(self, batch: Tensor) -> Lesson:
        """The student sees less than the teacher, as in use, and is asked for what the teacher sees."""
        maps = self.teacher.maps(batch)
        local = self.projection(maps.last)
        stages = self.interfaces(maps.stages) if self.hints else ()
        told = tuple(self._on_grid(stages[i - self.interfaces.first]) for i in self.hints)
        pictures = F.interpolate(batch, self.fine_size, mode="bilinear", antialias=True)
        return Lesson(pictures, self._on_grid(local), local.mean((2, 3)), told)

    def _with_rooms(self, lesson: Lesson, step: int) -> Lesson:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step + 500_000)
        return replace(lesson, rooms=self.room_pairs.drawn(self.n_room_pairs, generator))

    def _on_grid(self, maps: Tensor) -> Tensor:
        return F.interpolate(maps, self.grid, mode="bilinear", antialias=True)

    def _sources(self, names: Sequence[str], generator: torch.Generator) -> list[Tensor]:
        """As many pictures as a batch can use, drawn from the sources by their shares."""
        shares = torch.tensor([SOURCE_SHARES[name] for name in names])
        drawn = torch.multinomial(shares, 4 * self.n_fresh, replacement=True, generator=generator)
        places = torch.rand(len(drawn), generator=generator)
        rows = [self.pictures[names[i]] for i in drawn.tolist()]
        return [row[int(place * len(row))] for row, place in zip(rows, places.tolist(), strict=True)]


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
    """Two lessons as one batch."""
    return Lesson(
        torch.cat((first.pictures, second.pictures)),
        torch.cat((first.local, second.local)),
        torch.cat((first.pooled, second.pooled)),
        tuple(torch.cat(pair) for pair in zip(first.stages, second.stages, strict=True)),
    )


def parted(lesson: Lesson, n: int) -> list[Lesson]:
    """A lesson as N smaller ones."""
    stages = [stage.chunk(n) for stage in lesson.stages]
    whole = zip(lesson.pictures.chunk(n), lesson.local.chunk(n), lesson.pooled.chunk(n), strict=True)
    rooms = list(zip(*(half.chunk(n) for half in lesson.rooms), strict=True)) if lesson.rooms else [None] * n
    return [Lesson(*part, tuple(stage[i] for stage in stages), rooms[i]) for i, part in enumerate(whole)]


def losses(said: Sequence[Tensor], local: Tensor, lesson: Lesson, stage_weight: float) -> dict[str, Tensor]:
    """The parts of the loss, weighted; without the weight each is about 1 for a student that says nothing."""
    pooled, wanted = local.mean((2, 3)), lesson.pooled
    unit, unit_wanted = F.normalize(pooled, dim=1), F.normalize(wanted, dim=1)
    parts = {
        "local": _relative(local, lesson.local),
        "pooled": _relative(pooled, wanted),
        "cosine": 1 - (unit * unit_wanted).sum(1).mean(),
        "relation": RELATION_WEIGHT * _relative(unit @ unit.T, unit_wanted @ unit_wanted.T),
    }
    for number, (stage, target) in enumerate(zip(said, lesson.stages, strict=False), start=2):
        parts[f"stage_{number}"] = stage_weight * _relative(stage, target)
    return parts


def _relative(value: Tensor, target: Tensor) -> Tensor:
    return (value - target).square().mean() / target.square().mean()
