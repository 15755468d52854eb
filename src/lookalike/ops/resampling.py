"""Uncertainty of a mean over queries: bootstrap intervals and paired tests.

Both treat the queries as independent samples. They generalize to other queries of the same classes, not
to other classes, and are too narrow where a few classes contribute most queries.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

_NUMBERS = 2**23  # random numbers drawn at once


def bootstrap_intervals(
    values: Float[Tensor, "Q M"],
    *,
    generator: torch.Generator,
    n_resamples: int = 2000,
    confidence: float = 0.95,
) -> Float[Tensor, "M 2"]:
    """Low and high end of a percentile bootstrap interval of each column's mean over queries.

    Efron, Tibshirani, *An introduction to the bootstrap*, 1993, chapter 13. For a paired interval give the
    differences of two models. Raises ValueError for no queries and a confidence outside (0, 1).

    >>> values = torch.tensor([[0.0], [1.0]]).repeat(50, 1)
    >>> bootstrap_intervals(values, generator=torch.Generator().manual_seed(0)).round(decimals=1)
    tensor([[0.4000, 0.6000]], dtype=torch.float64)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence is between 0 and 1, got {confidence}")
    n_queries = len(values)

    def counts(n: int) -> Tensor:
        """Number of times that each query is drawn: (n, Q), rows sum to Q."""
        drawn = torch.randint(n_queries, (n, n_queries), generator=generator)
        once = torch.ones(1, dtype=torch.float64).expand_as(drawn)
        return torch.zeros(n, n_queries, dtype=torch.float64).scatter_add_(1, drawn, once)

    means = _resampled(values, counts, n_resamples) / n_queries  # (S, M)
    ends = torch.tensor([(1 - confidence) / 2, (1 + confidence) / 2], dtype=torch.float64)
    return means.quantile(ends, dim=0).T


def sign_flip_p_values(
    differences: Float[Tensor, "Q M"], *, generator: torch.Generator, n_resamples: int = 10_000
) -> Float[Tensor, " M"]:
    """Two-sided p-value of each column's mean difference between two models on the same queries.

    Fisher's randomization test: under the null hypothesis the sign of each query's difference is
    random (Smucker, Allan, Carterette, CIKM 2007). At least 1 / (n_resamples + 1).

    >>> sign_flip_p_values(torch.zeros(9, 1), generator=torch.Generator().manual_seed(0))
    tensor([1.], dtype=torch.float64)
    """
    n_queries = len(differences)

    def signs(n: int) -> Tensor:
        return 2 * torch.randint(2, (n, n_queries), generator=generator, dtype=torch.float64) - 1

    flipped = _resampled(differences, signs, n_resamples) / n_queries  # (S, M)
    observed = differences.double().mean(0).abs()
    at_least = (flipped.abs() >= observed - 1e-12).sum(0)  # sums of other order differ by rounding
    return (at_least + 1).double() / (n_resamples + 1)


def _resampled(
    values: Float[Tensor, "Q M"], weights: Callable[[int], Tensor], n_resamples: int
) -> Float[Tensor, "S M"]:
    """Weighted sums over queries for ``n_resamples`` draws of random weights, computed in blocks."""
    if not len(values) or n_resamples < 1:
        raise ValueError(
            f"resampling needs a query and a resample, got {len(values)} queries and {n_resamples} resamples"
        )
    step = max(1, _NUMBERS // len(values))
    numbers = values.double()
    sums = [weights(min(step, n_resamples - start)) @ numbers for start in range(0, n_resamples, step)]
    return torch.cat(sums)
