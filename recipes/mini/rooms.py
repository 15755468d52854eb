"""Pairs of generated rooms that share a painting: what the student learns without the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from augmentation import recolored
from generated_scenes import mask_path
from pictures import read_all_squashed
from torch import Tensor

TEMPERATURE = 0.1
REMEMBERED = 512  # embeddings of earlier rooms that must not look alike


@dataclass(frozen=True)
class Rooms:
    """Pairs of rooms, in which picture and cell they share a painting."""

    pictures: Tensor  # (n, 2, 3, H, W) float RGB in [0, 1]
    covered: Tensor  # (n, 2, h, w) share of each cell that the painting covers, in [0, 1]
    numbers: Tensor  # (n,) of the pairs

    def part(self, mine: slice) -> Rooms:
        return Rooms(self.pictures[mine], self.covered[mine], self.numbers[mine])


@dataclass(frozen=True)
class RoomPairs:
    """All pairs: two rooms that share a painting and nothing else."""

    pictures: Tensor  # (P, 2, 3, H, W) uint8
    covered: Tensor  # (P, 2, h, w)

    @classmethod
    def read(cls, paths: Sequence[Path], size: tuple[int, int], grid: tuple[int, int]) -> RoomPairs:
        """Rooms 2k and 2k + 1 of the generated scenes, squashed to (H, W), and their masks to (h, w)."""
        rooms = sorted(path for path in paths if path.name.startswith("room_"))
        rooms = rooms[: len(rooms) // 2 * 2]
        masks = read_all_squashed([mask_path(room) for room in rooms], size)[:, :1].float() / 255
        covered = F.adaptive_avg_pool2d(masks, grid)[:, 0]
        return cls(read_all_squashed(rooms, size).unflatten(0, (-1, 2)), covered.unflatten(0, (-1, 2)))

    def drawn(self, n: int, generator: torch.Generator) -> Rooms:
        """N pairs in other colors, some mirrored."""
        numbers = torch.randperm(len(self.pictures), generator=generator)[:n]
        pictures = recolored(self.pictures[numbers].flatten(0, 1).float() / 255, generator)
        pictures, covered = pictures.unflatten(0, (-1, 2)), self.covered[numbers].clone()
        mirrored = torch.rand(n, generator=generator) < 0.5  # both rooms: mirrored paintings are others
        pictures[mirrored], covered[mirrored] = pictures[mirrored].flip(-1), covered[mirrored].flip(-1)
        return Rooms(pictures, covered, numbers + len(self.pictures) * mirrored)


class Memory:
    """Embeddings of rooms seen in the last steps, as further wrong answers."""

    def __init__(self, dims: int) -> None:
        self.embeddings, self.numbers = torch.zeros(0, dims), torch.zeros(0, dtype=torch.long)

    def add(self, embeddings: Tensor, numbers: Tensor) -> None:
        """Remember unit embeddings (m, D) of the rooms of these pairs (m,)."""
        self.embeddings = torch.cat((embeddings, self.embeddings))[:REMEMBERED]
        self.numbers = torch.cat((numbers, self.numbers))[:REMEMBERED]


def contrast(unit: Tensor, numbers: Tensor, memory: Memory) -> Tensor:
    """Cross-entropy of finding the other room of the pair, both ways.

    ``unit`` (n, 2, D) embeddings of n pairs with ``numbers`` (n,). Remembered rooms of the same pair are no
    wrong answers and are left out.
    """
    known = numbers[:, None] == memory.numbers  # (n, m)
    losses = []
    for query, other in ((unit[:, 0], unit[:, 1]), (unit[:, 1], unit[:, 0])):
        remembered = (query @ memory.embeddings.T).masked_fill(known, -torch.inf)
        logits = torch.cat((query @ other.T, remembered), 1) / TEMPERATURE
        losses.append(F.cross_entropy(logits, torch.arange(len(query))))
    return sum(losses, torch.zeros(())) / 2


def elsewhere(local: Tensor, covered: Tensor) -> Tensor:
    """How much of the rooms' likeness comes from elsewhere than the painting: - log of the rest, mean.

    ``local`` (n, 2, D, h, w) of n pairs and what their painting covers, (n, 2, h, w). Positive parts of the
    map of shares only, as the benchmark of rooms counts them.
    """
    unit = F.normalize(local.mean((3, 4)), dim=-1)
    maps = torch.einsum("nkdhw,nkd->nkhw", local, unit.flip(1)).relu()
    inside = (maps * covered).sum((2, 3)) / maps.sum((2, 3)).clamp_min(1e-6)
    return -(inside + 0.02).log().mean()
