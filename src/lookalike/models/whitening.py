"""Layers learned on embeddings: whitenings, from pairs or without labels, and all-but-the-top."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lookalike.models.heads import L2Norm, Whitening, affine_layer
from lookalike.models.saving import LoadedModel

_logger = logging.getLogger(__name__)

_Matrix = NDArray[np.float64]
_NORM_EPS = 1e-6  # of the L2 after a published whitening
_FIRST_RIDGE = 1e-10  # on the diagonal of a matrix that is not positive definite, then ten times as much


@dataclass(frozen=True)
class LearnedWhitening:
    """``P (x - m)`` for unit embeddings x: directions by falling variance, best first."""

    mean: Tensor  # (C,) float64: m
    projection: Tensor  # (D, C) float64: P

    def narrowed(self, width: int | None) -> LearnedWhitening:
        """The first ``width`` directions, or all. Raises ValueError for more than there are."""
        if width is not None and not 1 <= width <= len(self.projection):
            raise ValueError(f"this whitening keeps 1 to {len(self.projection)} directions, got {width}")
        return LearnedWhitening(self.mean, self.projection[:width])


def with_whitening(model: LoadedModel, learned: LearnedWhitening, learned_on: str) -> LoadedModel:
    """The model with L2, the whitening and L2 at its end: after the merging, where scales are merged.

    Shares stay exact: the first L2 divides them by the length that the merged vector has. Raises
    ValueError for a model that ends with a learned whitening already.
    """
    if model.whitening:
        raise ValueError(f"{model.name} has a learned whitening already ({model.whitening}); take it without")
    n = len(model.scales)
    layers = L2Norm(), Whitening(learned.mean, learned.projection), L2Norm(_NORM_EPS)
    network = model.network.followed_by(*layers, merged=n > 1)
    words = f"learned on {learned_on} at {n} scale{'s' * (n > 1)}, to {len(learned.projection)} dimensions"
    return replace(model, network=network, whitening=words)


def discriminative_whitening(
    embeddings: Tensor, queries: Sequence[int], positives: Sequence[int]
) -> LearnedWhitening:
    """Whitening (C to C) of unit embeddings (B, C) from pairs, one thing in both images of each.

    What differs within pairs is whitened, then all embeddings are turned to their principal components:
    Mikolajczyk and Matas, *Improving Descriptors for Fast Tree Matching by Optimal Linear Projection*,
    ICCV 2007, as in Radenović et al., TPAMI 2019. The mean is that of the queries. With fewer pairs than
    dimensions the covariance has no inverse; its diagonal is raised until it has, with a warning.

    Raises ValueError for no pairs, lists of two lengths, and positions out of range.
    """
    if not len(queries) or len(queries) != len(positives):
        raise ValueError(
            f"a whitening is learned from pairs; got {len(queries)} queries and {len(positives)} positives"
        )
    if not all(0 <= i < len(embeddings) for i in (*queries, *positives)):
        raise ValueError(f"pairs name embeddings 0 to {len(embeddings) - 1}; got positions outside")
    vectors = embeddings.double().cpu().numpy()
    first, second = vectors[list(queries)], vectors[list(positives)]
    mean = first.mean(0)
    within = (first - second).T @ (first - second) / len(first)  # (C, C)
    projection = np.linalg.inv(_cholesky(within))
    centered = (vectors - mean) @ projection.T
    _, axes = np.linalg.eigh(centered.T @ centered)
    projection = axes[:, ::-1].T @ projection
    return LearnedWhitening(torch.from_numpy(mean), torch.from_numpy(projection))


def _cholesky(matrix: _Matrix) -> _Matrix:
    ridge = 0.0
    while True:
        try:
            return np.asarray(np.linalg.cholesky(matrix + ridge * np.eye(len(matrix))), np.float64)
        except np.linalg.LinAlgError as error:
            if not np.isfinite(matrix).all() or ridge > 1:
                raise ValueError("the embeddings of the pairs hold NaN or infinity") from error
            ridge = ridge * 10 or _FIRST_RIDGE
            _logger.warning(
                "the pairs differ in fewer directions than the embeddings have: %.0e is added to each "
                "variance; give more pairs than dimensions",
                ridge,
            )


def principal_whitening(embeddings: Tensor, width: int | None = None) -> LearnedWhitening:
    """PCA whitening of embeddings (B, C) to unit variances over B, without labels.

    Jégou and Chum, ECCV 2012; the directions that B embeddings span, or the first ``width`` of them. Raises
    ValueError for fewer than two embeddings, and for more directions than they span.
    """
    n = len(embeddings)
    if n < 2:
        raise ValueError(f"a whitening is learned from two images or more; got {n}")
    mean = embeddings.double().mean(0)
    _, spread, directions = torch.linalg.svd(embeddings.double() - mean, full_matrices=False)
    n_spanned = _n_spanned(spread, mean)
    if n_spanned < (width or 1):
        raise _too_few(n, n_spanned, width or 1)
    kept = min(width or n_spanned, n_spanned)
    return LearnedWhitening(mean, directions[:kept] / (spread[:kept, None] / n**0.5))


def _n_spanned(spread: Tensor, mean: Tensor) -> int:
    """In how many directions embeddings differ, by their singular values."""
    return int((spread > 1e-5 * max(float(spread[0]), float(mean.norm()))).sum())


def _too_few(n: int, n_spanned: int, width: int) -> ValueError:
    return ValueError(
        f"the {n} embeddings differ in {n_spanned} directions only, so whitening can't keep {width}; "
        "give more images, without copies, or a smaller width"
    )


def whitening(embeddings: Tensor, width: int | None = None, eps: float = 1e-9) -> nn.Linear:
    """PCA whitening learned on embeddings (B, C): an affine layer to ``width`` unit variances.

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
    n_spanned = _n_spanned(spread, mean)
    if width > n_spanned:
        raise _too_few(n, n_spanned, width)
    projection = directions[:width] / (spread[:width, None] / (n - 1) ** 0.5 + eps)
    return affine_layer(projection.to(embeddings.dtype), (-projection @ mean).to(embeddings.dtype))


def all_but_the_top(embeddings: Tensor, directions: int) -> nn.Linear:
    """Affine layer C → C that removes the mean of embeddings (B, C) and their main directions.

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
