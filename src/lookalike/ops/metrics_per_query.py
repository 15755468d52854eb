"""Retrieval metrics of each query, from the ranks of its relevant items.

Each takes ranks (Q, R) as ``relevant_ranks`` gives them: 1 is the best, ascending, infinite where a
query has fewer than R. All relevant items must be ranked. The means over queries are the metrics of
``ops.metrics``; bootstrap and paired tests need the values of each query. Queries without a
relevant item are refused.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Ranks = Float[Tensor, "Q R"]
PerQuery = Float[Tensor, " Q"]


def is_recalled_at_k(ranks: Ranks, k: int) -> PerQuery:
    """1 where a relevant item is among the first k, else 0.

    >>> is_recalled_at_k(torch.tensor([[2.0, 7.0], [3.0, torch.inf]]), 2)
    tensor([1., 0.], dtype=torch.float64)
    """
    if k < 1:
        raise ValueError(f"is_recalled_at_k needs k >= 1, got {k}")
    return (_checked(ranks)[:, 0] <= k).double()


def reciprocal_ranks(ranks: Ranks) -> PerQuery:
    """1 over the rank of the first relevant item, in (0, 1]; the mean is MRR."""
    return 1 / _checked(ranks)[:, 0]


def average_precisions(ranks: Ranks) -> PerQuery:
    """Mean over all relevant items of the precision at their rank, in (0, 1]; the mean is mAP.

    >>> average_precisions(torch.tensor([[1.0, 4.0]]))
    tensor([0.7500], dtype=torch.float64)
    """
    return _precisions(_checked(ranks)).sum(1) / _n_relevant(ranks)


def r_precisions(ranks: Ranks) -> PerQuery:
    """Share of a query's R relevant items that are among its first R, in [0, 1]."""
    n_relevant = _n_relevant(_checked(ranks))
    return (ranks <= n_relevant[:, None]).sum(1) / n_relevant


def average_precisions_at_r(ranks: Ranks) -> PerQuery:
    """Average precision within the first R, the number of relevant items; the mean is MAP@R.

    Musgrave, Belongie, Lim, *A metric learning reality check*, ECCV 2020.
    """
    n_relevant = _n_relevant(_checked(ranks))
    within = ranks <= n_relevant[:, None]
    return (_precisions(ranks) * within).sum(1) / n_relevant


def _precisions(ranks: Ranks) -> Ranks:
    """Precision at the rank of every relevant item, zero where there is none."""
    ordinals = torch.arange(1, ranks.shape[1] + 1, dtype=torch.float64, device=ranks.device)
    return ordinals / ranks


def _n_relevant(ranks: Ranks) -> PerQuery:
    return ranks.isfinite().sum(1).double()


def _checked(ranks: Ranks) -> Ranks:
    if not ranks.isfinite().any(1).all():
        raise ValueError("a query has no relevant item; drop queries without a match first")
    return ranks.double()
