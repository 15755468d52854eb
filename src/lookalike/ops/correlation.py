"""Correlation of two series of numbers, by their values and by their ranks; never NaN."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

_ROUNDING = 1e-12  # a spread below this part of the largest value is rounding


def pearson_correlation(first: Float[Tensor, "*axes"], second: Float[Tensor, "*axes"]) -> float:
    """Pearson correlation over all elements, in [-1, 1]; 0 where one is constant.

    Raises ValueError for values that are not finite.

    >>> round(pearson_correlation(torch.tensor([[0.0, 1.0, 2.0]]), torch.tensor([[1.0, 1.0, 4.0]])), 4)
    0.866
    """
    a, b = _centered(first), _centered(second)
    norm = math.sqrt(float(a @ a) * float(b @ b))
    return min(1.0, max(-1.0, float(a @ b) / norm)) if norm > 0 else 0.0


def rank_correlation(first: Float[Tensor, "*axes"], second: Float[Tensor, "*axes"]) -> float:
    """Spearman correlation over all elements, in [-1, 1]; equal values share their mean rank.

    0 where one is constant. Raises ValueError for values that are not finite.

    >>> rank_correlation(torch.tensor([[0.0, 1.0, 9.0]]), torch.tensor([[5.0, 6.0, 7.0]]))
    1.0
    """
    return pearson_correlation(_ranks(first), _ranks(second))


def _centered(values: Tensor) -> Tensor:
    """Values minus their mean, scaled to at most 1; zeros where they are constant: (n,) float64."""
    _check_finite(values)
    flat = values.double().flatten()
    if float(flat.max() - flat.min()) <= _ROUNDING * float(flat.abs().max()):
        return torch.zeros_like(flat)
    centered = flat - flat.mean()
    return centered / centered.abs().max()


def _ranks(values: Tensor) -> Tensor:
    """Mean rank of each value, 1 is the smallest: (n,) float64."""
    _check_finite(values)
    flat = values.flatten()
    ordered = flat.sort().values
    n_smaller, n_at_most = (torch.searchsorted(ordered, flat, right=right) for right in (False, True))
    return (n_smaller + n_at_most + 1).double() / 2


def _check_finite(values: Tensor) -> None:
    if not len(values.flatten()) or not values.isfinite().all():
        raise ValueError(
            f"a correlation needs finite values, got {int((~values.isfinite()).sum())} that are not "
            f"among {values.numel()}"
        )
