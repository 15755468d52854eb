"""What a map does by itself: whether it stays the same, how focused it is, whether it tells pairs apart."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from lookalike.ops.correlation import rank_correlation
from lookalike.ops.weighted_auc import weighted_auc


def map_correlation(a: Float[Tensor, "h w"], b: Float[Tensor, "h w"]) -> float:
    """Spearman correlation of two maps over their cells, in [-1, 1]; 0 where one is constant.

    As the sanity checks of Adebayo et al., NeurIPS 2018, which want it low after the weights of the
    model are randomized; after a harmless change of the image it should be high.

    >>> map_correlation(torch.tensor([[0.0, 1.0, 9.0]]), torch.tensor([[9.0, 8.0, -3.0]]))
    -1.0
    """
    return rank_correlation(a, b)


def relative_distance(a: Float[Tensor, "h w"], b: Float[Tensor, "h w"]) -> float:
    """Change of a map from a to b as part of its norm, ||a - b|| / ||a||; 0 is no change.

    Its maximum over small perturbations of the input is the max-sensitivity of Yeh et al., *On the
    (in)fidelity and sensitivity of explanations*, NeurIPS 2019, relative to the map. 0 where both maps
    are zero, infinite where only the first is.

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
    of it, 0 where it is spread evenly or there is none. Raises ValueError for a grid of one cell.

    >>> round(concentration(torch.tensor([[1.0, 1.0], [0.0, -7.0]])), 4)
    0.5
    """
    if values.numel() < 2:
        raise ValueError(f"a concentration needs at least 2 cells, got {values.numel()}")
    positive = values.double().clamp(min=0).flatten()
    total = positive.sum()
    if float(total) == 0:
        return 0.0
    entropy = float(torch.special.entr(positive / total).sum())
    return min(1.0, max(0.0, 1 - entropy / math.log(values.numel())))


def separation_auc(right: Float[Tensor, " R"], wrong: Float[Tensor, " W"]) -> float:
    """Probability that the value of a right pair exceeds that of a wrong one, ties half; in [0, 1].

    The area under the ROC curve: 0.5 is chance. Raises ValueError where either side is empty.

    >>> separation_auc(torch.tensor([0.9, 0.4]), torch.tensor([0.4, 0.1]))
    0.875
    """
    values = torch.cat([right, wrong])
    is_right = torch.arange(len(values), device=values.device) < len(right)
    return weighted_auc(values, is_right.double(), (~is_right).double())
