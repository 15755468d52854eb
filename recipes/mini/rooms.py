"""Pairs of generated rooms that share a painting: what the student learns without the teacher."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from augmentation import recoloured
from pictures import read_all_squashed
from torch import Tensor

TEMPERATURE = 0.1
REMEMBERED = 512  # embeddings of earlier rooms that must not look alike


@dataclass(frozen=True)
class RoomPairs:
    """Pictures (P, 2, 3, h, w), uint8: two rooms that share a painting and nothing else."""

    pictures: Tensor

    @classmethod
    def read(cls, paths: Sequence[Path], size: tuple[int, int]) -> RoomPairs:
        """Rooms 2k and 2k + 1 of the generated scenes, squashed to (h, w)."""
        rooms = sorted(path for path in paths if path.name.startswith("room_"))
        return cls(read_all_squashed(rooms[: len(rooms) // 2 * 2], size).unflatten(0, (-1, 2)))

    def drawn(self, n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """N pairs in other colours, (n, 2, 3, h, w) float RGB in [0, 1], and their numbers."""
        numbers = torch.randperm(len(self.pictures), generator=generator)[:n]
        pictures = recoloured(self.pictures[numbers].flatten(0, 1).float() / 255, generator)
        return pictures.unflatten(0, (-1, 2)), numbers


class Memory:
    """Embeddings of rooms seen in the last steps, as further wrong answers."""

    def __init__(self, dims: int) -> None:
        self.embeddings, self.numbers = torch.zeros(0, dims), torch.zeros(0, dtype=torch.long)

    def add(self, embeddings: Tensor, numbers: Tensor) -> None:
        """Remember unit embeddings (m, D) of the rooms of these pairs (m,)."""
        self.embeddings = torch.cat((embeddings, self.embeddings))[:REMEMBERED]
        self.numbers = torch.cat((numbers, self.numbers))[:REMEMBERED]


def contrast(pooled: Tensor, numbers: Tensor, memory: Memory) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding the other room of the pair, both ways; and the unit embeddings.

    ``pooled`` (n, 2, D) of n pairs with ``numbers`` (n,). Remembered rooms of the same pair are no wrong
    answers and are left out.
    """
    unit = F.normalize(pooled, dim=-1)
    known = numbers[:, None] == memory.numbers  # (n, m)
    losses = []
    for query, other in ((unit[:, 0], unit[:, 1]), (unit[:, 1], unit[:, 0])):
        remembered = (query @ memory.embeddings.T).masked_fill(known, -torch.inf)
        logits = torch.cat((query @ other.T, remembered), 1) / TEMPERATURE
        losses.append(F.cross_entropy(logits, torch.arange(len(query))))
    return sum(losses, torch.zeros(())) / 2, unit.detach()
