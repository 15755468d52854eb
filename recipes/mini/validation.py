"""How the student does on classes that it has not seen: the metrics by which the recipe was chosen."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Validation:
    """Pictures of held-out classes, and what the teacher says of them."""

    pictures: Tensor  # uint8 (B, 3, h, w) at the student's input size
    labels: Tensor  # (B,)
    target: Tensor  # (B, D)

    @torch.inference_mode()
    def check(self, student: nn.Module) -> dict[str, float]:
        student.eval()
        pooled = torch.cat([student(batch.float() / 255).mean((2, 3)) for batch in self.pictures.split(64)])
        return {
            "val_recall_at_1": recall_at_1(pooled, self.labels),
            "val_cosine": float(F.cosine_similarity(pooled, self.target).mean()),
        }


def recall_at_1(pooled: Tensor, labels: Tensor) -> float:
    """Share of pictures whose nearest other picture has the same class."""
    unit = F.normalize(pooled, dim=1)
    similarity = (unit @ unit.T).fill_diagonal_(-2)
    return float((labels[similarity.argmax(1)] == labels).float().mean())
