"""Metrics on classes that are held out of the training, by which a recipe is watched."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Validation:
    """Pictures of held-out classes with the teacher's embeddings."""

    pictures: Tensor  # uint8 (B, 3, H, W) at the student's input size
    labels: Tensor  # (B,)
    target: Tensor  # (B, D)

    @torch.inference_mode()
    def check(self, student: nn.Module) -> dict[str, float]:
        """Recall@1 of the student, and its mean cosine with the teacher."""
        student.eval()
        pooled = torch.cat([student(batch.float() / 255).mean((2, 3)) for batch in self.pictures.split(64)])
        return {
            "val_recall_at_1": recall_at_1(pooled, self.labels),
            "val_cosine": float(F.cosine_similarity(pooled, self.target).mean()),
        }


def recall_at_1(pooled: Tensor, labels: Tensor) -> float:
    """Fraction of pictures whose nearest other picture has the same class."""
    unit = F.normalize(pooled, dim=1)
    similarity = (unit @ unit.T).fill_diagonal_(-2)
    return float((labels[similarity.argmax(1)] == labels).float().mean())
