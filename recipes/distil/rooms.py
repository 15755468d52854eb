"""Pairs of generated rooms that share a painting, and the losses on them; the teacher has no part in it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from .augmentation import recolored
from .pictures import read_all_squashed
from .scenes import mask_path

TEMPERATURE = 0.1
REMEMBERED = 512  # embeddings of earlier rooms, as negatives


@dataclass(frozen=True)
class Rooms:
    """A batch of pairs."""

    pictures: Tensor  # (n, 2, 3, H, W) float RGB in [0, 1]
    coverage: Tensor  # (n, 2, h, w) fraction of each cell that the painting covers, in [0, 1]
    numbers: Tensor  # (n,) of the pairs

    def subset(self, rows: slice) -> Rooms:
        return Rooms(self.pictures[rows], self.coverage[rows], self.numbers[rows])


@dataclass(frozen=True)
class RoomPairs:
    """All pairs. The two rooms of a pair share one painting and nothing else."""

    pictures: Tensor  # (P, 2, 3, H, W) uint8
    coverage: Tensor  # (P, 2, h, w)

    @classmethod
    def read(cls, paths: Sequence[Path], size: tuple[int, int], grid: tuple[int, int]) -> RoomPairs:
        """Rooms 2k and 2k + 1 of the generated scenes, squashed to (H, W), with their masks on the grid."""
        rooms = sorted(path for path in paths if path.name.startswith("room_"))
        rooms = rooms[: len(rooms) // 2 * 2]
        masks = read_all_squashed([mask_path(room) for room in rooms], size)[:, :1].float() / 255
        coverage = F.adaptive_avg_pool2d(masks, grid)[:, 0]
        return cls(read_all_squashed(rooms, size).unflatten(0, (-1, 2)), coverage.unflatten(0, (-1, 2)))

    def drawn(self, n: int, generator: torch.Generator) -> Rooms:
        """A batch of n random pairs in other colors, some of them mirrored."""
        numbers = torch.randperm(len(self.pictures), generator=generator)[:n]
        pictures = recolored(self.pictures[numbers].flatten(0, 1).float() / 255, generator)
        pictures, coverage = pictures.unflatten(0, (-1, 2)), self.coverage[numbers].clone()
        # both rooms of a pair are mirrored, since a mirrored painting counts as another one
        mirrored = torch.rand(len(numbers), generator=generator) < 0.5
        pictures[mirrored], coverage[mirrored] = pictures[mirrored].flip(-1), coverage[mirrored].flip(-1)
        return Rooms(pictures, coverage, numbers + len(self.pictures) * mirrored)


class Memory:
    """Embeddings of the rooms of the last steps, which serve as further negatives."""

    def __init__(self, dims: int) -> None:
        self.embeddings, self.numbers = torch.zeros(0, dims), torch.zeros(0, dtype=torch.long)

    def add(self, embeddings: Tensor, numbers: Tensor) -> None:
        """Remember unit embeddings (m, D) of rooms and the numbers (m,) of their pairs."""
        self.embeddings = torch.cat((embeddings, self.embeddings))[:REMEMBERED]
        self.numbers = torch.cat((numbers, self.numbers))[:REMEMBERED]


def contrast(unit: Tensor, numbers: Tensor, memory: Memory) -> Tensor:
    """Cross-entropy of finding the other room of the pair, in both directions.

    ``unit`` (n, 2, D) are unit embeddings of n pairs with ``numbers`` (n,). Remembered rooms of the same
    pair are not negatives and are left out.
    """
    known = numbers[:, None] == memory.numbers  # (n, m)
    losses = []
    for query, other in ((unit[:, 0], unit[:, 1]), (unit[:, 1], unit[:, 0])):
        remembered = (query @ memory.embeddings.T).masked_fill(known, -torch.inf)
        logits = torch.cat((query @ other.T, remembered), 1) / TEMPERATURE
        losses.append(F.cross_entropy(logits, torch.arange(len(query))))
    return sum(losses, torch.zeros(())) / 2


def outside(local: Tensor, coverage: Tensor) -> Tensor:
    """Negative log of the fraction of the positive map that lies on the painting, mean over rooms.

    ``local`` (n, 2, D, h, w) local features of n pairs, ``coverage`` (n, 2, h, w). As in benchmarks/rooms.py,
    only positive attributions count.
    """
    unit = F.normalize(local.mean((3, 4)), dim=-1)
    maps = torch.einsum("nkdhw,nkd->nkhw", local, unit.flip(1)).relu()
    inside = (maps * coverage).sum((2, 3)) / maps.sum((2, 3)).clamp_min(1e-6)
    return -(inside + 0.02).log().mean()
