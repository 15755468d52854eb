"""Fit of the student's head to whole pictures, the last step of mini-vit's recipe."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from .students import Student

RIDGE = 0.3  # pull towards the learned head, in units of the mean square of a channel


@torch.inference_mode()
def pooled_channels(student: Student, batches: Iterable[Tensor]) -> Tensor:
    """Mean-pooled input of the head: (B, C)."""
    student.eval()
    return torch.cat([student.channels(batch).mean((2, 3)) for batch in batches])


@torch.no_grad()
def refit_head(student: Student, pooled: Tensor, target: Tensor, ridge: float = RIDGE) -> None:
    """Set the head to the affine layer that comes closest to the target (B, D), given pooled (B, C).

    Ridge regression of what the learned head still misses, so a strong ridge changes nothing.
    """
    weight, bias = student.head.weight.flatten(1).double(), student.head.bias.double()
    x, mean = pooled.double() - pooled.double().mean(0), pooled.double().mean(0)
    missing = target.double() - pooled.double() @ weight.T - bias
    gram = x.T @ x / len(x)
    gram.diagonal().add_(ridge * float(gram.diagonal().mean()))
    change = torch.linalg.solve(gram, x.T @ (missing - missing.mean(0)) / len(x)).T
    student.head.weight.copy_((weight + change).float()[:, :, None, None])
    student.head.bias.copy_((bias + missing.mean(0) - change @ mean).float())
