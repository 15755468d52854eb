"""One embedding, and one grid of shares, from several scales of an image."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def merge_scales(embeddings: Float[Tensor, "S D"], power: Float[Tensor, ""]) -> Float[Tensor, " D"]:
    """Generalized mean over scales, as Radenović et al., TPAMI 2019: ``mean(e^p)^(1/p)``.

    With a power other than 1 the embeddings must not be negative.
    """
    if float(power) == 1:
        return embeddings.mean(0)
    return embeddings.pow(power).mean(0).pow(1 / power)


def scale_factors(embeddings: Float[Tensor, "S D"], power: Float[Tensor, ""]) -> Float[Tensor, "S D"]:
    """Factors for each scale's shares so that their sum is ``merge_scales``: channel by channel,
    in proportion to ``e^p``."""
    if float(power) == 1:
        return torch.full_like(embeddings, 1 / embeddings.shape[0])
    total = embeddings.pow(power).sum(0)
    factors = embeddings.pow(power - 1) * merge_scales(embeddings, power) / total
    return torch.where((total > 0) & (embeddings > 0), factors, 0.0)


def regrid(
    shares: Float[Tensor, "N D"], grid: tuple[int, int], target: tuple[int, int]
) -> Float[Tensor, "M D"]:
    """Shares of one grid spread over another by overlap of area; their sum is kept exactly."""
    cells = shares.reshape(*grid, shares.shape[1])  # (h, w, D)
    rows = _overlap(grid[0], target[0]).to(shares)  # (h', h)
    columns = _overlap(grid[1], target[1]).to(shares)  # (w', w)
    return torch.einsum("yh,xw,hwd->yxd", rows, columns, cells).flatten(0, 1)


def _overlap(n: int, m: int) -> Float[Tensor, "m n"]:
    """Part of each of n equal intervals that lies in each of m equal intervals; columns sum to 1."""
    source, target = torch.arange(n + 1) / n, torch.arange(m + 1)[:, None] / m
    overlap = torch.minimum(source[1:], target[1:]) - torch.maximum(source[:-1], target[:-1])
    return overlap.clamp(min=0) * n
