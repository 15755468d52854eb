"""Poolings and their shares: what each cell contributed to the pooled vector.

For every pooling ``X`` the functions ``X_pool`` and ``X_shares`` take the same features, and
``X_shares(...).sum(1)`` equals ``X_pool(...)``. Average and max pooling follow Stylianou et al.,
WACV 2019; generalized mean (GeM) Radenović et al., TPAMI 2019; the sum of average and max
pooling Zhang et al., CVPR 2022; R-MAC Tolias et al., ICLR 2016.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

Cells = Float[Tensor, "B N C"]
Pooled = Float[Tensor, "B C"]
Power = Float[Tensor, "*powers"]  # one number or one per channel


def mean_pool(cells: Cells) -> Pooled:
    """Mean-pooled features: (B, C).

    >>> mean_pool(torch.tensor([[[1.0, 4.0], [3.0, 0.0]]]))
    tensor([[2., 2.]])
    """
    return cells.mean(1)


def mean_shares(cells: Cells) -> Cells:
    """Shares of mean pooling: each cell's vector divided by the number of cells."""
    return cells / cells.shape[1]


def max_pool(cells: Cells) -> Pooled:
    """Max-pooled features, channel by channel: (B, C)."""
    return cells.amax(1)


def max_shares(cells: Cells) -> Cells:
    """Shares of max pooling: each channel goes to the cell of its maximum, in equal parts over ties."""
    at_peak = cells == cells.amax(1, keepdim=True)
    return cells * at_peak / at_peak.sum(1, keepdim=True)


def gem_pool(cells: Cells, power: Power, floor: float = 1e-6) -> Pooled:
    """GeM-pooled features, ``mean(clamp(x, floor)^p)^(1/p)``: (B, C).

    ``power`` is one number or one per channel, above 0: p = 1 gives the mean of the clamped values,
    p → ∞ the maximum. Computed relative to the maximum, so large powers neither overflow nor
    underflow. Radenović et al., TPAMI 2019, equation 3.

    >>> gem_pool(torch.tensor([[[1.0], [3.0]]]), torch.tensor([2.0]))
    tensor([[2.2361]])
    """
    clamped = cells.clamp(min=floor)
    peak = clamped.amax(1, keepdim=True)
    return peak.squeeze(1) * (clamped / peak).pow(power).mean(1).pow(1 / power)


def gem_shares(cells: Cells, power: Power, floor: float = 1e-6) -> Cells:
    """Shares of GeM pooling: the pooled value divided over the cells in proportion to ``x^p``."""
    clamped = cells.clamp(min=floor)
    weights = (clamped / clamped.amax(1, keepdim=True)).pow(power)
    return gem_pool(cells, power, floor)[:, None] * weights / weights.sum(1, keepdim=True)


def average_plus_max_pool(cells: Cells) -> Pooled:
    """Sum of mean and max pooling, as AVSL (CVPR 2022) pools its nodes: (B, C)."""
    return mean_pool(cells) + max_pool(cells)


def average_plus_max_shares(cells: Cells) -> Cells:
    """Sum of the shares of mean and max pooling; equals AVSL's activation map divided by N."""
    return mean_shares(cells) + max_shares(cells)


def rmac_pool(cells: Cells, grid: tuple[int, int], levels: int = 3) -> Pooled:
    """R-MAC features: the sum over a pyramid of regions of their L2-normalized max pooling: (B, C).

    The whole grid is the first region, and region norms carry a floor of 1e-6, as in the
    published networks of Radenović et al., TPAMI 2019.
    """
    pooled = torch.stack([cells[:, region].amax(1) for region in rmac_regions(grid, levels)])  # (R, B, C)
    return (pooled / _norm_with_floor(pooled)).sum(0)


def rmac_shares(cells: Cells, grid: tuple[int, int], levels: int = 3) -> Cells:
    """Shares of R-MAC pooling: those of max pooling in each region, divided by the region's norm."""
    shares = torch.zeros_like(cells)
    for region in rmac_regions(grid, levels):
        inside = cells[:, region]
        shares[:, region] += max_shares(inside) / _norm_with_floor(inside.amax(1, keepdim=True))
    return shares


def rmac_regions(grid: tuple[int, int], levels: int = 3) -> list[list[int]]:
    """Row-major cell numbers of every region of the R-MAC pyramid, the whole grid first.

    Regions of level l are squares of side ``2 min(h, w) / (l + 1)``, l of them along the shorter
    side and more along the longer one, so many that neighbors overlap by nearly 40 %.
    """
    h, w = grid
    short, long = sorted(grid)
    extra = 0 if short == long else 1 + _extra_squares(short, long)
    regions = [list(range(h * w))]
    for level in range(1, levels + 1):
        side = math.floor(2 * short / (level + 1))
        if side == 0:
            continue
        rows = _starts(h, side, level + (extra if h > w else 0))
        columns = _starts(w, side, level + (extra if w > h else 0))
        regions += [_cells(row, column, side, w) for row in rows for column in columns]
    return regions


def _norm_with_floor(vectors: Float[Tensor, "... C"]) -> Float[Tensor, "... 1"]:
    norms: Tensor = vectors.norm(dim=-1, keepdim=True)
    return norms + 1e-6


def _extra_squares(short: int, long: int) -> int:
    """0 to 5: which of 2 to 7 squares along the long side overlap by nearest to 40 %.

    In single precision like the published code, so that ties (grids of 5:9) fall the same way.
    """
    steps = (long - short) / torch.arange(1, 7, dtype=torch.float32)
    overlaps = (short**2 - short * steps) / short**2
    return int((overlaps - 0.4).abs().argmin())


def _starts(length: int, side: int, n: int) -> list[int]:
    """First cells of n windows of the given side, spread evenly over the length.

    Rounded by way of the windows' centers, in single precision, like the published code.
    """
    if n == 1:
        return [0]
    center = math.floor(side / 2 - 1)
    steps = torch.arange(n, dtype=torch.float32) * ((length - side) / (n - 1))
    return [int(start) for start in ((center + steps).floor() - center).tolist()]


def _cells(row: int, column: int, side: int, width: int) -> list[int]:
    return [r * width + c for r in range(row, row + side) for c in range(column, column + side)]
