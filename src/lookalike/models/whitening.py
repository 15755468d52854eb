"""Affine layers learned on embeddings without labels: PCA whitening and all-but-the-top."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lookalike.models.heads import affine_layer


def whitening(embeddings: Tensor, width: int | None = None, eps: float = 1e-9) -> nn.Linear:
    """PCA whitening learned on embeddings (B, C): an affine layer C → width of unit variances.

    Raises ValueError where width is more than the number of directions that B samples span, copies
    counted once.
    """
    n, channels = embeddings.shape
    width = width or min(channels, n - 1)
    if not 1 <= width <= min(channels, n - 1):
        raise ValueError(f"whitening of {n} embeddings of width {channels} keeps 1 to {min(channels, n - 1)} "
                         f"directions, got {width}")  # fmt: skip
    mean = embeddings.double().mean(0)
    _, spread, directions = torch.linalg.svd(embeddings.double() - mean, full_matrices=False)
    n_spanned = int((spread > 1e-5 * max(float(spread[0]), float(mean.norm()))).sum())
    if width > n_spanned:
        raise ValueError(
            f"the {n} embeddings differ in {n_spanned} directions only, so whitening can't keep {width}; "
            "give more images, without copies, or a smaller width"
        )
    projection = directions[:width] / (spread[:width, None] / (n - 1) ** 0.5 + eps)
    return affine_layer(projection.to(embeddings.dtype), (-projection @ mean).to(embeddings.dtype))


def all_but_the_top(embeddings: Tensor, directions: int) -> nn.Linear:
    """Removes the mean of embeddings (B, C) and the directions in which they vary most: C → C.

    Mu and Viswanath, *All-but-the-Top*, ICLR 2018. Raises ValueError for more directions than
    B samples span.
    """
    n, channels = embeddings.shape
    if not 0 <= directions <= min(channels, n) - 1:
        raise ValueError(
            f"{n} embeddings of width {channels} leave 0 to {min(channels, n) - 1} directions to set aside, "
            f"got {directions}"
        )
    mean = embeddings.double().mean(0)
    _, _, axes = torch.linalg.svd(embeddings.double() - mean, full_matrices=False)
    rest = torch.eye(channels, dtype=torch.float64) - axes[:directions].T @ axes[:directions]
    return affine_layer(rest.to(embeddings.dtype), (-rest @ mean).to(embeddings.dtype))
