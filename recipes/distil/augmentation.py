"""Strong augmentation of the pictures that teacher and student see; one generator draws every choice."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

SIZE = 224  # pixels; the teacher's input
SMALLEST_AREA = 0.2  # of the picture, for a random crop
WHOLE, MOSAIC = 0.35, 0.12  # probability of the whole picture squashed, of four pictures in one
WARP, COLOR, GRAY, NOISE = 0.2, 0.5, 0.03, 0.05
CUT, MIX = 0.15, 0.1  # probability of another picture pasted as a box, or blended in


def augmented_batch(pictures: Sequence[Tensor], n: int, generator: torch.Generator) -> Tensor:
    """N mixed, warped and recolored pictures, float RGB in [0, 1]: (N, 3, SIZE, SIZE)."""
    batch = torch.stack([_composed(pictures, generator) for _ in range(n)]).float().div_(255)
    batch = _warped(batch, generator)
    batch = recolored(batch, generator)
    return _mixed(batch, generator).clamp_(0, 1)


def _uniform(generator: torch.Generator, low: float = 0.0, high: float = 1.0) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _integer(generator: torch.Generator, stop: int) -> int:
    return int(torch.randint(stop, (), generator=generator))


def _composed(pictures: Sequence[Tensor], generator: torch.Generator) -> Tensor:
    """One crop, or a mosaic of four: uint8 (3, SIZE, SIZE)."""
    if _uniform(generator) >= MOSAIC:
        return _crop(pictures, (SIZE, SIZE), generator)
    row, column = (int(SIZE * _uniform(generator, 0.3, 0.7)) for _ in range(2))
    rows = [
        torch.cat([_crop(pictures, (height, width), generator) for width in (column, SIZE - column)], 2)
        for height in (row, SIZE - row)
    ]
    return torch.cat(rows, 1)


def _crop(pictures: Sequence[Tensor], size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A random crop of a random picture, perhaps mirrored: uint8 (3, *size)."""
    picture = pictures[_integer(generator, len(pictures))]
    height, width = picture.shape[1:]
    if _uniform(generator) >= WHOLE:
        area = math.exp(_uniform(generator, math.log(SMALLEST_AREA), 0.0))
        ratio = math.exp(_uniform(generator, -0.4, 0.4))
        crop_height = min(height, max(16, round(height * math.sqrt(area / ratio))))
        crop_width = min(width, max(16, round(width * math.sqrt(area * ratio))))
        top = _integer(generator, height - crop_height + 1)
        left = _integer(generator, width - crop_width + 1)
        picture = picture[:, top : top + crop_height, left : left + crop_width]
    if _uniform(generator) < 0.5:
        picture = picture.flip(2)
    return F.interpolate(picture[None], size, mode="bilinear", antialias=True)[0]


def _chosen(n: int, probability: float, generator: torch.Generator) -> Tensor:
    return (torch.rand(n, generator=generator) < probability).nonzero()[:, 0]


def _warped(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Warp some of the pictures by a random homography, with mirrored borders."""
    chosen = _chosen(len(batch), WARP, generator)
    n = len(chosen)
    if not n:
        return batch
    angle = (torch.rand(n, generator=generator) - 0.5) * (math.pi / 4)
    scale = 1 + (torch.rand(n, generator=generator) - 0.5) * 0.4
    homography = torch.zeros(n, 3, 3)
    homography[:, 0, 0] = homography[:, 1, 1] = angle.cos() * scale
    homography[:, 0, 1] = -angle.sin() * scale + 0.2 * (torch.rand(n, generator=generator) - 0.5)
    homography[:, 1, 0] = angle.sin() * scale + 0.2 * (torch.rand(n, generator=generator) - 0.5)
    homography[:, 2, :2] = 0.4 * (torch.rand(n, 2, generator=generator) - 0.5)
    homography[:, 2, 2] = 1
    batch[chosen] = _warp_by(batch[chosen], homography)
    return batch


def recolored(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures with changed brightness, contrast, saturation and tint, some gray or noisy.

    The color change is one 3 x 3 matrix a picture.
    """
    n = len(batch)
    matrix = torch.eye(3).repeat(n, 1, 1)
    offset = torch.zeros(n, 3)
    chosen = _chosen(n, COLOR, generator)
    k = len(chosen)
    gray = torch.tensor([0.299, 0.587, 0.114]).expand(3, 3)
    saturation = 1 + (torch.rand(k, 1, 1, generator=generator) - 0.5) * 1.2
    tint = torch.eye(3) + (torch.rand(k, 3, 3, generator=generator) - 0.5) * 0.16
    contrast = 1 + (torch.rand(k, 1, 1, generator=generator) - 0.5) * 0.9
    matrix[chosen] = contrast * tint @ (saturation * torch.eye(3) + (1 - saturation) * gray)
    brightness = (torch.rand(k, 1, generator=generator) - 0.5) * 0.4
    offset[chosen] = brightness + 0.5 * (1 - contrast[:, 0])
    matrix[_chosen(n, GRAY, generator)] = gray
    batch = torch.baddbmm(offset[:, :, None], matrix, batch.flatten(2)).view_as(batch)
    noisy = _chosen(n, NOISE, generator)
    if len(noisy):
        batch[noisy] += 0.06 * torch.randn(batch[noisy].shape, generator=generator)
    return batch.clamp_(0, 1)


def _mixed(batch: Tensor, generator: torch.Generator) -> Tensor:
    """CutMix and MixUp of pictures; no labels are mixed, since the teacher sees the mixture."""
    other = batch[torch.randperm(len(batch), generator=generator)]
    mixed = batch.clone()
    for i in _chosen(len(batch), MIX, generator).tolist():
        mixed[i].lerp_(other[i], _uniform(generator, 0.1, 0.5))
    for i in _chosen(len(batch), CUT, generator).tolist():
        height, width = (int(SIZE * _uniform(generator, 0.25, 0.75)) for _ in range(2))
        top, left = _integer(generator, SIZE - height + 1), _integer(generator, SIZE - width + 1)
        box = (slice(None), slice(top, top + height), slice(left, left + width))
        mixed[i][box] = other[i][box]
    return mixed


def framed(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each picture in a frame on a wall, at a random position and angle: (n, 3, H, W), RGB in [0, 1]."""
    n, _, height, width = pictures.shape
    walls = _walls(n, (height, width), generator)
    for wall, picture in zip(walls, pictures, strict=True):
        fraction = _uniform(generator, 0.3, 0.85)  # of the wall's sides
        h = int(height * fraction * math.exp(_uniform(generator, -0.15, 0.15)))
        w = int(width * fraction * math.exp(_uniform(generator, -0.15, 0.15)))
        h, w = min(h, height - 2), min(w, width - 2)
        border = int(_uniform(generator, 0.0, 0.12) * min(h, w))
        top, left = _integer(generator, height - h + 1), _integer(generator, width - w + 1)
        rim = torch.rand(3, 1, 1, generator=generator) * _uniform(generator, 0.2, 1.0)
        wall[:, top : top + h, left : left + w] = rim
        inner_h, inner_w = h - 2 * border, w - 2 * border
        small = F.interpolate(picture[None], (inner_h, inner_w), mode="bilinear", antialias=True)[0]
        wall[:, top + border : top + border + inner_h, left + border : left + border + inner_w] = small
    slanted = _slanted(walls, generator)
    light = torch.rand(n, 1, 1, 1, generator=generator) * 0.5 + 0.7
    return (slanted * light).clamp_(0, 1)


def _walls(n: int, size: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Walls in plain colors with a gradient and some grain: (n, 3, *size)."""
    gray = torch.rand(n, 1, 1, 1, generator=generator)
    color = (gray + 0.25 * (torch.rand(n, 3, 1, 1, generator=generator) - 0.5)).clamp(0, 1)
    corners = 0.35 * (torch.rand(n, 1, 2, 2, generator=generator) - 0.5)
    light = F.interpolate(corners, size, mode="bilinear", align_corners=True)
    coarse = (
        0.15 * torch.rand(n, 1, 1, 1, generator=generator) * torch.randn(n, 3, 20, 20, generator=generator)
    )
    return (color + light + F.interpolate(coarse, size, mode="bilinear")).clamp(0, 1)


def _slanted(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures warped as if seen a little from the side."""
    n = len(batch)
    homography = torch.eye(3).repeat(n, 1, 1)
    homography[:, :2, :2] += 0.16 * (torch.rand(n, 2, 2, generator=generator) - 0.5)
    homography[:, 2, :2] = 0.3 * (torch.rand(n, 2, generator=generator) - 0.5)
    return _warp_by(batch, homography)


def _warp_by(batch: Tensor, homography: Tensor) -> Tensor:
    """Warp pictures (n, 3, H, W) by homographies (n, 3, 3) of coordinates in [-1, 1], borders mirrored."""
    height, width = batch.shape[2:]
    y, x = torch.meshgrid(
        *((torch.arange(side) + 0.5) * (2 / side) - 1 for side in (height, width)), indexing="ij"
    )
    points = torch.stack((x, y, torch.ones_like(x)), -1).view(1, -1, 3) @ homography.mT
    grid = (points[..., :2] / points[..., 2:]).view(len(batch), height, width, 2)
    return F.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)
