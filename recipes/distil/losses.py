"""Losses of the second part: the student's answer against the teacher's, frames and rooms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .batches import Batch
from .rooms import Memory, Rooms, contrast, outside
from .settings import Settings
from .students import Student

RELATION_WEIGHT = 0.25


def batch_losses(
    network: Student, fine: Student | None, batch: Batch, memory: Memory, settings: Settings
) -> tuple[dict[str, Tensor], Tensor]:
    """Weighted losses of a batch by name, and unit embeddings (n, 2, D) of its rooms.

    ``fine`` is the network with the finer grid that it ships with; rooms are shown to it.
    """
    with torch.autocast("cpu", torch.bfloat16, enabled=settings.precision == "bf16"):
        stages, local = network.with_stages(batch.pictures)
    stages, local = [stage.float() for stage in stages], local.float()
    losses = distillation_losses(stages, local, batch, settings.stage_weight)
    if batch.framed is not None:
        pooled = network(batch.framed).mean((2, 3))
        wanted = batch.pooled[: len(pooled)]
        losses["framed"] = settings.framed_weight * (1 - F.cosine_similarity(pooled, wanted).mean())
    unit = torch.zeros(0, 2, local.shape[1])
    if batch.rooms is not None and fine is not None:
        of_rooms, unit = room_losses(fine, batch.rooms, memory, settings)
        losses |= of_rooms
    return losses, unit.detach()


def distillation_losses(
    stages: Sequence[Tensor], local: Tensor, batch: Batch, stage_weight: float
) -> dict[str, Tensor]:
    """Losses against the teacher; before weighting each is about 1 for a student that answers zero."""
    pooled, wanted = local.mean((2, 3)), batch.pooled
    unit, unit_wanted = F.normalize(pooled, dim=1), F.normalize(wanted, dim=1)
    losses = {
        "local": _relative(local, batch.local),
        "pooled": _relative(pooled, wanted),
        "cosine": 1 - (unit * unit_wanted).sum(1).mean(),
        "relation": RELATION_WEIGHT * _relative(unit @ unit.T, unit_wanted @ unit_wanted.T),
    }
    for number, (stage, target) in enumerate(zip(stages, batch.stages, strict=True), start=1):
        losses[f"stage_{number}"] = stage_weight * _relative(stage, target)
    return losses


def room_losses(
    fine: Student, rooms: Rooms, memory: Memory, settings: Settings
) -> tuple[dict[str, Tensor], Tensor]:
    """Losses on pairs of rooms by name, and their unit embeddings (n, 2, D)."""
    local = fine(rooms.pictures.flatten(0, 1)).unflatten(0, (-1, 2))  # (n, 2, D, h, w)
    unit = F.normalize(local.mean((3, 4)), dim=-1)
    losses = {
        "rooms": settings.rooms_weight * contrast(unit, rooms.numbers, memory),
        "outside": settings.outside_weight * outside(local, rooms.coverage),
    }
    return losses, unit


def _relative(value: Tensor, target: Tensor) -> Tensor:
    return (value - target).square().mean() / target.square().mean()
