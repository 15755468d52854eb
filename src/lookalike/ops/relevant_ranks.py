"""Ranks of the relevant items, without sorting the whole gallery."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def relevant_ranks(similarities: Float[Tensor, "Q G"], relevant: Int[Tensor, "Q R"]) -> Float[Tensor, "Q R"]:
    """Ranks of the relevant columns of each row, 1 is the best: ascending, float64, infinite for none.

    ``relevant`` holds columns of the gallery, -1 where a row has fewer than R. Equal similarities
    rank in the order of their columns. Give an item that must not be found a similarity of minus infinity.

    >>> similarities = torch.tensor([[0.9, 0.1, 0.5, 0.5]])
    >>> relevant_ranks(similarities, torch.tensor([[3, 1, -1]]))
    tensor([[3., 4., inf]], dtype=torch.float64)
    """
    absent = relevant < 0
    values = similarities.gather(1, relevant.clamp(min=0)).masked_fill(absent, torch.inf)
    values = values.sort(dim=1).values  # (Q, R) ascending, the absent last
    positions = torch.searchsorted(values, similarities)  # (Q, G) how many relevant values are smaller
    n_larger = _counts(positions, values.shape[1] + 1).flip(1).cumsum(1).flip(1)[:, 1:]  # (Q, R)
    ranks = (n_larger + 1).double().masked_fill(values.isposinf(), torch.inf).sort(dim=1).values
    ties = _has_ties(similarities, values, positions, (~absent).sum(1))
    if ties.any():
        ranks[ties] = _ranks_by_sorting(similarities[ties], relevant[ties])
    return ranks


def _counts(positions: Int[Tensor, "Q G"], n: int) -> Int[Tensor, "Q n"]:
    """Number of times that each of 0 to n - 1 occurs in each row."""
    counts = positions.new_zeros(len(positions), n)
    return counts.scatter_add(1, positions, positions.new_ones(1).expand_as(positions))


def _has_ties(
    similarities: Float[Tensor, "Q G"],
    values: Float[Tensor, "Q R"],
    positions: Int[Tensor, "Q G"],
    n_relevant: Int[Tensor, " Q"],
) -> Tensor:
    """Whether a relevant item of a row has the same similarity as any other item: (Q,)."""
    if not values.shape[1]:
        return torch.zeros(len(values), dtype=torch.bool, device=values.device)
    reached = values.gather(1, positions.clamp(max=values.shape[1] - 1))
    among_relevant = ((values[:, 1:] == values[:, :-1]) & values[:, 1:].isfinite()).any(1)
    return among_relevant | ((reached == similarities).sum(1) > n_relevant)


def _ranks_by_sorting(
    similarities: Float[Tensor, "Q G"], relevant: Int[Tensor, "Q R"]
) -> Float[Tensor, "Q R"]:
    """As ``relevant_ranks``, by a stable sort of whole rows."""
    order = similarities.sort(dim=1, descending=True, stable=True).indices
    ranks = torch.empty_like(order).scatter_(
        1, order, torch.arange(1, order.shape[1] + 1, device=order.device).expand_as(order)
    )
    found = ranks.gather(1, relevant.clamp(min=0)).double()
    return found.masked_fill(relevant < 0, torch.inf).sort(dim=1).values
