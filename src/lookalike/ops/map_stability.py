"""What a map does by itself: whether it stays the same, how focused it is, whether it tells pairs apart."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lookalike.ops.correlation import rank_correlation


def map_correlation(a: Float[Tensor, "h w"], b: Float[Tensor, "h w"]) -> float:
    """Spearman correlation of two maps over their cells, in [-1, 1]; 0 where one is constant.

    As the sanity checks of Adebayo et al., NeurIPS 2018, which want it low after the weights of the
    model are randomized; after a harmless change of the image it should be high. The many cells of the
    background weigh as much as the few that matter. A map that ignores the image is perfectly stable,
    so this says nothing about truth.

    >>> map_correlation(torch.tensor([[0.0, 1.0, 9.0]]), torch.tensor([[9.0, 8.0, -3.0]]))
    -1.0
    """
    return rank_correlation(a, b)


def relative_distance(a: Float[Tensor, "h w"], b: Float[Tensor, "h w"]) -> float:
    """Change of a map from a to b as part of its norm, ||a - b|| / ||a||; 0 is no change.

    Its maximum over small perturbations of the input is the max-sensitivity of Yeh et al., *On the
    (in)fidelity and sensitivity of explanations*, NeurIPS 2019, relative to the map. 0 where both maps
    are zero, infinite where only the first is. Not symmetric, not limited to 1, and a map that is only
    scaled counts as changed; ``map_correlation`` ignores the scale.

    >>> relative_distance(torch.tensor([[3.0, 4.0]]), torch.tensor([[3.0, 4.5]]))
    0.1
    """
    before, after = a.double(), b.double()
    change, norm = float((before - after).norm()), float(before.norm())
    if norm == 0:
        return math.inf if change > 0 else 0.0
    return change / norm


def concentration(values: Float[Tensor, "h w"]) -> float:
    """1 minus the normalized entropy of the positive mass over the cells, in [0, 1].

    1 + sum p log p / log(h w), where p is a cell's share of the positive mass: 1 where one cell has all
    of it, 0 where it is spread evenly or there is none. It describes a map and is no merit: a focused map
    may be focused on the wrong place. Grids of other sizes do not compare, and a constant added to
    the map changes it. Raises ValueError for a grid of one cell and values that are not finite.

    >>> round(concentration(torch.tensor([[1.0, 1.0], [0.0, -7.0]])), 4)
    0.5
    """
    if values.numel() < 2:
        raise ValueError(f"a concentration needs at least 2 cells, got {values.numel()}")
    if not values.isfinite().all():
        raise ValueError("a map must be finite; it has NaN or infinite cells")
    positive = values.double().clamp(min=0).flatten()
    total = positive.sum()
    if float(total) == 0:
        return 0.0
    entropy = float(torch.special.entr(positive / total).sum())
    return min(1.0, max(0.0, 1 - entropy / math.log(values.numel())))
