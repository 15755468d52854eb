"""Area under the ROC curve of weighted values: how well they separate two groups."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def weighted_auc(
    values: Float[Tensor, " N"], positive: Float[Tensor, " N"], negative: Float[Tensor, " N"]
) -> float:
    """Probability that a positive draw has a higher value than a negative one, ties half; in [0, 1].

    Value i is drawn with a chance proportional to ``positive[i]`` for the one and ``negative[i]``
    for the other, so it may count for both. Equals the area under the ROC curve (Hanley, McNeil,
    Radiology 1982), exactly. Raises ValueError for a NaN value and a group without weight.

    >>> values = torch.tensor([0.9, 0.5, 0.5])
    >>> weighted_auc(values, torch.tensor([1.0, 1.0, 0.0]), torch.tensor([0.0, 0.0, 2.0]))
    0.75
    """
    if values.isnan().any():
        raise ValueError(f"values must be numbers to be ordered, got {int(values.isnan().sum())} NaN")
    levels = torch.unique(values)  # ascending
    level = torch.searchsorted(levels, values)  # of each value
    positives, negatives = (
        torch.zeros(len(levels), dtype=torch.float64, device=values.device).scatter_add(
            0, level, weight.double()
        )
        for weight in (positive, negative)
    )
    total = float(positives.sum() * negatives.sum())
    if not total > 0:
        raise ValueError("both groups must have some weight, got a group without any")
    below = negatives.cumsum(0) - negatives
    return float(positives @ (below + negatives / 2)) / total
