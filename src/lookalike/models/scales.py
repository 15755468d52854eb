"""An image at several scales: the network's inputs, and embeddings and shares merged from its outputs.

Radenović et al., TPAMI 2019: unit embeddings of all scales are merged by a generalized mean.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lookalike.models.heads import propagate
from lookalike.models.network import BatchShares
from lookalike.ops.multiscale import merge_scales, scale_factors
from lookalike.ops.propagation import l2_norm
from lookalike.ops.regrid import regrid


def scaled_images(images: Tensor, scales: Sequence[float]) -> Iterator[Tensor]:
    """Yield normalized images (B, 3, H, W) resized by each factor."""
    smallest = min(images.shape[2:])
    for scale in scales:
        if scale == 1 or smallest * scale < 1:  # an image one pixel thin can't be made thinner
            yield images
        else:
            yield F.interpolate(images, scale_factor=scale, mode="bilinear", align_corners=False)


def merged_embeddings(at_scales: Sequence[Tensor], power: float, head: nn.Sequential) -> Tensor:
    """Unit embeddings (B, D) from those of each scale, (B, C), and the layers after their merging."""
    if len(at_scales) == 1:
        return at_scales[0]
    exponent = torch.tensor(power)
    merged = [merge_scales(torch.stack(of_image), exponent) for of_image in zip(*at_scales, strict=True)]
    return F.normalize(head(torch.stack(merged)), dim=1)


def merged_shares(
    at_scales: Sequence[BatchShares], power: float, head: nn.Sequential
) -> tuple[Tensor, tuple[int, int]]:
    """One image's share rows (N + 1, D) from those of each scale, and the finest of their grids (h, w).

    ``head`` are the layers after the merging, through which the rows are carried exactly.
    """
    if len(at_scales) == 1:
        return at_scales[0].values[0], at_scales[0].grid
    grid = max((p.grid for p in at_scales), key=lambda g: g[0] * g[1])
    shares = [l2_norm(p.values)[0] for p in at_scales]  # each (N_s + 1, D)
    factors = scale_factors(torch.stack([p.sum(0) for p in shares]), torch.tensor(power))
    merged = [
        torch.cat([regrid(p[:-1], of_scale.grid, grid), p[-1:]]) * factor
        for p, of_scale, factor in zip(shares, at_scales, factors, strict=True)
    ]
    return propagate(head, torch.stack(merged).sum(0)[None])[0], grid
