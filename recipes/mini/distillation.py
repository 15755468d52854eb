"""What is asked of the student at each step: batches with the teacher's answer, and the loss."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from augmentation import augmented_batch, framed
from rooms import RoomPairs, Rooms
from teacher import Projection, Teacher
from torch import Tensor

AHEAD = 4  # lessons prepared while the student learns
AGAIN_AFTER = 16  # steps after which pictures are seen a second time
SOURCE_SHARES = {"caltech101": 0.48, "grocery": 0.28, "clothing": 0.16, "paintings": 0.08}
RELATION_WEIGHT = 0.25

Told = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


@dataclass(frozen=True)
class Lesson:
    """Pictures for the student and what the teacher sees in them."""

    pictures: Tensor  # (B, 3, H, W) float RGB in [0, 1]
    local: Tensor  # (B, D, h, w) projected last map, on the student's grid
    pooled: Tensor  # (B, D) mean of the projected last map
    stages: tuple[Tensor, ...]  # (B, C, h, w) what the student is told of the teacher's stages
    framed: Tensor | None = None  # the first n pictures, each hung in a frame on a wall: (n, 3, H, W)
    rooms: Rooms | None = None


@dataclass(frozen=True)
class Lessons:
    """An endless, seeded course: step s is the same whether or not the run was interrupted."""

    pictures: dict[str, Sequence[Tensor]]  # by source
    teacher: Teacher
    projection: Projection
    told: Told  # of the teacher's stages, (B, C, h, w) each
    teacher_size: tuple[int, int]  # (h, w) pixels of the pictures as the teacher sees them
    size: tuple[int, int]  # and as the student sees them
    grid: tuple[int, int]  # (h, w) cells of the student
    n_fresh: int
    seed: int
    n_framed: int = 0  # a step
    room_pairs: RoomPairs | None = None
    n_room_pairs: int = 0  # a step

    def from_step(self, first: int) -> Iterator[Lesson]:
        """Each step: new pictures, and those of some steps ago again."""
        past = deque((self._fresh(step) for step in range(max(0, first - AGAIN_AFTER), first)), AGAIN_AFTER)
        for step in itertools.count(first):
            fresh = self._fresh(step)
            lesson = joined(fresh, past[0]) if len(past) == AGAIN_AFTER else fresh
            yield self._with_walls(lesson, step)
            past.append(fresh)

    def _fresh(self, step: int) -> Lesson:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step)
        batch = augmented_batch(self._sources(generator), self.n_fresh, generator)
        maps = self.teacher.maps(_resized(batch, self.teacher_size))
        local = self.projection(maps.last)
        pictures = _resized(batch, self.size)
        return Lesson(pictures, _resized(local, self.grid), local.mean((2, 3)), self.told(maps.stages))

    def _with_walls(self, lesson: Lesson, step: int) -> Lesson:
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + step + 500_000)
        if self.n_framed:
            lesson = replace(lesson, framed=framed(lesson.pictures[: self.n_framed], generator))
        if self.room_pairs:
            lesson = replace(lesson, rooms=self.room_pairs.drawn(self.n_room_pairs, generator))
        return lesson

    def _sources(self, generator: torch.Generator) -> list[Tensor]:
        """As many pictures as a batch can use, drawn from the sources by their shares."""
        names = sorted(self.pictures)
        shares = torch.tensor([SOURCE_SHARES[name] for name in names])
        drawn = torch.multinomial(shares, 4 * self.n_fresh, replacement=True, generator=generator)
        cells = torch.rand(len(drawn), generator=generator)
        rows = [self.pictures[names[i]] for i in drawn.tolist()]
        return [row[int(cell * len(row))] for row, cell in zip(rows, cells.tolist(), strict=True)]


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", antialias=True)


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
    """A lesson as N smaller ones; each has its part of the pictures that hang on walls."""
    parts = []
    for i in range(n):
        mine = slice(i, None, n)
        parts.append(
            Lesson(
                lesson.pictures[mine],
                lesson.local[mine],
                lesson.pooled[mine],
                tuple(stage[mine] for stage in lesson.stages),
                None if lesson.framed is None else lesson.framed[mine],
                None if lesson.rooms is None else lesson.rooms.part(mine),
            )
        )
    return parts


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
    for number, (stage, target) in enumerate(zip(said, lesson.stages, strict=True), start=1):
        parts[f"stage_{number}"] = stage_weight * _relative(stage, target)
    return parts


def _relative(value: Tensor, target: Tensor) -> Tensor:
    return (value - target).square().mean() / target.square().mean()
