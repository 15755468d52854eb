"""Retrieval metrics from ranks: which of the ranked items are relevant, best first.

They take ranks, not scores. Where a query is itself in the gallery, leave it out of the ranking and
of the number of relevant items.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def recall_at_k(relevant: Bool[Tensor, "Q G"], k: int) -> float:
    """Share of queries with at least one relevant item among the first k, in [0, 1].

    >>> recall_at_k(torch.tensor([[False, True, False], [False, False, True]]), 2)
    0.5
    """
    if k < 1 or not len(relevant):
        raise ValueError(f"recall_at_k needs k >= 1 and a query, got k = {k} and {len(relevant)} queries")
    return float(relevant[:, :k].any(1).double().mean())


def average_precision(relevant: Bool[Tensor, " G"], n_relevant: int) -> float:
    """Mean, over all n_relevant items of the gallery, of precision at their rank (best first).

    >>> round(average_precision(torch.tensor([True, False, True, False, False]), 3), 4)
    0.5556
    """
    _check(n_relevant, "average_precision")
    return float(_precision_at_hits(relevant[None]).sum() / n_relevant)


def r_precision(relevant: Bool[Tensor, " G"], n_relevant: int) -> float:
    """Share of relevant items among the first R = n_relevant, in [0, 1]."""
    _check(n_relevant, "r_precision")
    return int(relevant[:n_relevant].sum()) / n_relevant


def map_at_r(relevant: Bool[Tensor, "Q G"], n_relevant: Int[Tensor, " Q"]) -> float:
    """Mean over queries of average precision within the first R, R being that query's n_relevant.

    Musgrave, Belongie, Lim, *A metric learning reality check*, ECCV 2020.
    """
    _check(int(n_relevant.min()) if len(n_relevant) else 0, "map_at_r")
    within = torch.arange(relevant.shape[1], device=relevant.device) < n_relevant[:, None]
    return float((_precision_at_hits(relevant & within).sum(1) / n_relevant).mean())


def _precision_at_hits(relevant: Bool[Tensor, "Q G"]) -> Float[Tensor, "Q G"]:
    """Precision at the rank of every relevant item, zero at the others."""
    ranks = torch.arange(1, relevant.shape[1] + 1, dtype=torch.float64, device=relevant.device)
    return relevant.cumsum(1) / ranks * relevant


def _check(n_relevant: int, metric: str) -> None:
    if n_relevant < 1:
        raise ValueError(f"{metric} needs n_relevant >= 1; drop queries without a match first")
