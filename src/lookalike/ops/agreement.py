"""Agreement of two models: of the lists that they retrieve, and of the maps that explain a pair."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def list_overlaps(first: Int[Tensor, "Q K"], second: Int[Tensor, "Q K"]) -> Int[Tensor, "Q K"]:
    """Number of items that the first d of both lists have in common, for d = 1 to K.

    No list may contain an item twice.

    >>> list_overlaps(torch.tensor([[5, 3, 8]]), torch.tensor([[3, 5, 9]]))
    tensor([[0, 2, 2]])
    """
    depth = first.shape[1]
    ranks = torch.arange(depth, device=first.device)
    is_same = first[:, :, None] == second[:, None, :]  # (Q, K, K)
    joined = torch.maximum(ranks[:, None], ranks[None, :]).expand_as(is_same)  # from this depth on
    counts = torch.zeros_like(first).scatter_add_(1, joined.flatten(1), is_same.flatten(1).to(first.dtype))
    return counts.cumsum(1)


def jaccard_at_k(overlaps: Int[Tensor, "Q K"], k: int) -> Float[Tensor, " Q"]:
    """Jaccard index of the first k items of both lists, in [0, 1], from ``list_overlaps``.

    >>> jaccard_at_k(torch.tensor([[0, 2, 2]]), 3)
    tensor([0.5000], dtype=torch.float64)
    """
    _check_depth(overlaps, k)
    common = overlaps[:, k - 1].double()
    return common / (2 * k - common)


def rank_biased_overlap(overlaps: Int[Tensor, "Q K"], p: float = 0.9) -> Float[Tensor, " Q"]:
    """Rank-biased overlap of both lists, in [0, 1]: each rank deeper weighs less by a factor p.

    Extrapolated from the K ranks that are known: Webber, Moffat, Zobel, *A similarity measure for
    indefinite rankings*, TOIS 2010 (RBO_ext). The first 10 ranks have 86 % of the weight at 0.9.

    >>> rank_biased_overlap(torch.tensor([[1, 2, 3]]))
    tensor([1.], dtype=torch.float64)
    """
    if not 0 < p < 1:
        raise ValueError(f"the persistence p is between 0 and 1, got {p}")
    _check_depth(overlaps, 1)
    depths = torch.arange(1, overlaps.shape[1] + 1, dtype=torch.float64, device=overlaps.device)
    agreement = overlaps / depths  # (Q, K)
    last = agreement[:, -1] * p ** depths[-1]
    return (1 - p) / p * (agreement * p**depths).sum(1) + last


def shared_mass(first: Float[Tensor, "h w"], second: Float[Tensor, "h w"]) -> float:
    """Fraction of two maps' positive mass that lies at the same cells, in [0, 1].

    Histogram intersection of the positive parts, each scaled to sum 1. 0 where a map has no
    positive cell.

    >>> shared_mass(torch.tensor([[3.0, 1.0, -9.0]]), torch.tensor([[1.0, 1.0, 2.0]]))
    0.5
    """
    positive = [values.double().clamp(min=0) for values in (first, second)]
    if not all(float(values.sum()) > 0 for values in positive):
        return 0.0
    a, b = (values / values.sum() for values in positive)
    return float(torch.minimum(a, b).sum())


def _check_depth(overlaps: Int[Tensor, "Q K"], k: int) -> None:
    if not 1 <= k <= overlaps.shape[1]:
        raise ValueError(f"k is between 1 and the {overlaps.shape[1]} items of the lists, got {k}")
