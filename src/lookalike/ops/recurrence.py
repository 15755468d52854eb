"""What recurs at one place of many pictures: windows whose gradients agree far more than chance has it.

Edges of a watermark, a frame or a caption fall on the same pixels in every picture that carries them; those
of what pictures show do not (Dekel, Rubinstein, Liu, Freeman, *On the Effectiveness of Visible Watermarks*,
CVPR 2017, who look for gradients that all pictures share; here a part of them may).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional as F

_WIDTH = 128  # directions of a window that are compared
_RIDGE = 0.02  # of the mean variance: directions below it are not amplified
_FAINT = 0.3  # of the mean length: windows with less detail have smaller products
_CHANCE = 2e-4  # of pairs of windows at different places that agree as much
_SOFT = 8.0  # gray levels: gradients above it count about alike
_SAMPLE = 30_000  # windows from which the directions are learned
_OVERLAP, _VOTES = 0.5, 0.3  # of the smaller group; of the windows of a group that name a picture
_PER_WINDOW = 2  # groups that one window can have
_WINDOWS = 2  # in which a group agrees, at least: in one alone, what pictures show may agree


@dataclass(frozen=True, eq=False)
class RecurringGroup:
    """Pictures that agree in some windows of the frame."""

    items: Int[Tensor, " K"]  # rows of the pictures, ascending
    windows: Bool[Tensor, "h w"]  # where they agree
    strength: float  # sum over the windows of how many pictures agree with one
    largest: int  # pictures that agree with one, in the best window


def gradient_windows(grays: Float[Tensor, "N H W"], *, size: int = 16, stride: int = 8) -> Tensor:
    """Gradients of overlapping square windows of N frames: (N, h, w, 2 * size²); levels are 0 to 255.

    Large gradients are compressed, so that a faint edge counts beside a strong one.
    """
    padded = F.pad(grays[:, None], (1, 1, 1, 1), mode="replicate")[:, 0]
    across = (padded[:, 1:-1, 2:] - padded[:, 1:-1, :-2]) / 2
    down = (padded[:, 2:, 1:-1] - padded[:, :-2, 1:-1]) / 2
    gradients = torch.stack([across, down], dim=1)
    gradients = gradients / (gradients.norm(dim=1, keepdim=True) + _SOFT)
    windows = gradients.unfold(2, size, stride).unfold(3, size, stride)  # (N, 2, h, w, size, size)
    found: Tensor = windows.permute(0, 2, 3, 1, 4, 5).flatten(3)
    return found


def whitened_windows(windows: Float[Tensor, "N h w d"], *, seed: int = 0) -> Float[Tensor, "h w N c"]:
    """Windows in directions of equal variance, by place, at most of about unit length.

    Smooth edges, which all photographs have, then count no more than rare detail. Windows without detail
    stay short, so that noise does not agree.
    """
    d = windows.shape[-1]
    flat = windows.reshape(-1, d)
    chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))[:_SAMPLE]
    sample = flat[chosen]
    mean = sample.mean(0)
    variances, axes = torch.linalg.eigh((sample - mean).T @ (sample - mean) / len(sample))
    width = min(_WIDTH, d)
    ridge = _RIDGE * variances.clamp(min=0).mean() + 1e-12
    scale = (variances[-width:].clamp(min=0) + ridge).rsqrt()
    z = (windows.permute(1, 2, 0, 3) - mean) @ (axes[:, -width:] * scale)
    lengths = z.norm(dim=-1, keepdim=True)
    found: Tensor = z / (lengths + _FAINT * lengths.mean()).clamp(min=1e-12)
    return found


def recurring_groups(whitened: Float[Tensor, "h w N c"], *, least: int) -> list[RecurringGroup]:
    """Groups of pictures that agree at one place, strongest first.

    Two windows agree if their product is one that only 0.02 % of pairs at *different* places reach. A group
    begins with the window that agrees with most others, ``least`` of them or more; windows whose groups
    overlap by half are one group, which has two windows at least.
    """
    h, w = whitened.shape[:2]
    places = whitened.flatten(0, 1)
    limit = _limit_by_chance(places)
    found = [
        (count, place, members)
        for place in range(h * w)
        for count, members in _groups_of_window(places[place], limit, least)
    ]
    found.sort(key=lambda each: -each[0])
    merged: list[list[tuple[int, int, Tensor]]] = []
    for each in found:
        own = each[2]
        for group in merged:
            first = group[0][2]
            if int((own & first).sum()) >= _OVERLAP * min(int(own.sum()), int(first.sum())):
                group.append(each)
                break
        else:
            merged.append([each])
    groups = [_merged(group, h, w) for group in merged if len({place for _, place, _ in group}) >= _WINDOWS]
    return sorted((group for group in groups if len(group.items)), key=lambda group: -group.strength)


def _limit_by_chance(places: Tensor) -> float:
    """The product that few pairs of windows at different places exceed."""
    n_places = len(places)
    other = torch.roll(torch.arange(n_places), n_places // 2 + 1)
    step = max(1, n_places // 48)
    products = torch.cat([(places[i] @ places[other[i]].T).flatten()[::7] for i in range(0, n_places, step)])
    return float(products.sort().values[min(len(products) - 1, int(len(products) * (1 - _CHANCE)))])


def _groups_of_window(window: Tensor, limit: float, least: int) -> list[tuple[int, Tensor]]:
    """Of one window (N, c): how many agree with the first of a group, and its members (N,) bool."""
    agree = window @ window.T > limit
    agree.fill_diagonal_(False)
    groups: list[tuple[int, Tensor]] = []
    for _ in range(_PER_WINDOW):
        counts = agree.sum(1)
        seed = int(counts.argmax())
        count = int(counts[seed])
        if count < least:
            break
        members = agree[seed].clone()
        members[seed] = True
        template = F.normalize(window[members].mean(0), dim=0)
        members |= window @ template > 2 * limit
        groups.append((count, members))
        agree[members] = False
        agree[:, members] = False
    return groups


def _merged(group: list[tuple[int, int, Tensor]], h: int, w: int) -> RecurringGroup:
    windows = torch.zeros(h * w, dtype=torch.bool)
    windows[[place for _, place, _ in group]] = True
    votes = torch.stack([members for _, _, members in group]).float().mean(0)
    items = (votes >= _VOTES).nonzero()[:, 0]
    strength = float(sum(count for count, _, _ in group))
    return RecurringGroup(items, windows.view(h, w), strength, max(count for count, _, _ in group))
