"""Batches of the second part: augmented pictures with what the teacher says of them."""

from __future__ import annotations

import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import augmented_batch, framed
from .rooms import RoomPairs, Rooms
from .teacher import Projection, Teacher

PREFETCHED = 4  # batches prepared while the student learns
REPEATED_AFTER = 16  # steps after which pictures are shown a second time
SOURCE_WEIGHTS = {"caltech101": 0.48, "grocery": 0.28, "clothing": 0.16, "paintings": 0.08}


@dataclass(frozen=True)
class Batch:
    """Pictures for the student and the targets that the teacher gives for them."""

    pictures: Tensor  # (B, 3, H, W) float RGB in [0, 1]
    local: Tensor  # (B, D, h, w) projected last map, on the student's grid
    pooled: Tensor  # (B, D) mean of the projected last map
    stages: tuple[Tensor, ...]  # (B, C, h, w) targets of the student's stages
    framed: Tensor | None = None  # (n, 3, H, W) the first n pictures, each in a frame on a wall
    rooms: Rooms | None = None

    def __add__(self, other: Batch) -> Batch:
        """Both as one batch, without framed pictures and rooms."""
        return Batch(
            torch.cat((self.pictures, other.pictures)),
            torch.cat((self.local, other.local)),
            torch.cat((self.pooled, other.pooled)),
            tuple(torch.cat(pair) for pair in zip(self.stages, other.stages, strict=True)),
        )

    def split(self, n: int) -> list[Batch]:
        """N smaller batches: every n-th picture, framed picture and pair of rooms each."""
        rows = [slice(i, None, n) for i in range(n)]
        return [
            Batch(
                self.pictures[mine],
                self.local[mine],
                self.pooled[mine],
                tuple(stage[mine] for stage in self.stages),
                None if self.framed is None else self.framed[mine],
                None if self.rooms is None else self.rooms.subset(mine),
            )
            for mine in rows
        ]


@dataclass(frozen=True)
class BatchStream:
    """Endless, seeded batches: that of step s does not depend on whether the run was interrupted."""

    pictures: dict[str, Sequence[Tensor]]  # by source, uint8 (3, H, W) each
    teacher: Teacher
    projection: Projection
    stage_targets: Callable[[Sequence[Tensor]], tuple[Tensor, ...]]  # of the teacher's stages
    teacher_size: tuple[int, int]  # (H, W) pixels of the pictures as the teacher sees them
    size: tuple[int, int]  # and as the student sees them
    grid: tuple[int, int]  # (h, w) cells of the student
    n_fresh: int
    seed: int
    n_framed: int = 0
    room_pairs: RoomPairs | None = None
    n_room_pairs: int = 0

    def from_step(self, first: int) -> Iterator[Batch]:
        """Each step's new pictures, with those of REPEATED_AFTER steps before."""
        past = deque(
            (self._fresh(step) for step in range(max(0, first - REPEATED_AFTER), first)), REPEATED_AFTER
        )
        for step in itertools.count(first):
            fresh = self._fresh(step)
            batch = fresh + past[0] if len(past) == REPEATED_AFTER else fresh
            yield self._with_walls(batch, step)
            past.append(fresh)

    def _fresh(self, step: int) -> Batch:
        generator = self._generator(step)
        batch = augmented_batch(self._draw(generator), self.n_fresh, generator)
        maps = self.teacher.maps(_resized(batch, self.teacher_size))
        local = self.projection(maps.last)
        pictures = _resized(batch, self.size)
        return Batch(
            pictures, _resized(local, self.grid), local.mean((2, 3)), self.stage_targets(maps.stages)
        )

    def _with_walls(self, batch: Batch, step: int) -> Batch:
        generator = self._generator(step + 500_000)
        if self.n_framed:
            batch = replace(batch, framed=framed(batch.pictures[: self.n_framed], generator))
        if self.room_pairs:
            batch = replace(batch, rooms=self.room_pairs.drawn(self.n_room_pairs, generator))
        return batch

    def _generator(self, number: int) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed * 1_000_003 + number)

    def _draw(self, generator: torch.Generator) -> list[Tensor]:
        """As many pictures as a batch can use, drawn from the sources by their weights."""
        names = sorted(self.pictures)
        weights = torch.tensor([SOURCE_WEIGHTS[name] for name in names])
        drawn = torch.multinomial(weights, 4 * self.n_fresh, replacement=True, generator=generator)
        fractions = torch.rand(len(drawn), generator=generator)
        rows = [self.pictures[names[i]] for i in drawn.tolist()]
        return [row[int(at * len(row))] for row, at in zip(rows, fractions.tolist(), strict=True)]


def prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches in the same order, prepared by a thread of its own."""
    ready: queue.Queue[Batch | Exception] = queue.Queue(PREFETCHED)

    def prepare() -> None:
        torch.set_num_threads(1)  # of this thread's operations only
        try:
            for batch in batches:
                ready.put(batch)
        except Exception as error:
            ready.put(error)

    threading.Thread(target=prepare, daemon=True).start()
    while True:
        batch = ready.get()
        if isinstance(batch, Exception):
            raise batch
        yield batch


def _resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    if maps.shape[2:] == size:
        return maps
    return F.interpolate(maps, size, mode="bilinear", antialias=True)
