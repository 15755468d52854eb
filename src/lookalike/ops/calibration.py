"""Calibration of cosines to probabilities: logistic regression on one variable."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_STEPS = 200
_RIDGE = 1e-6  # keeps the curve finite where the classes are apart


def fit_logistic(positives: Float[Tensor, " P"], negatives: Float[Tensor, " M"]) -> Float[Tensor, 2]:
    """Slope and intercept of ``sigmoid(slope * x + intercept)``, both classes weighted equally: (2,).

    Newton's method on smoothed targets (Platt, *Probabilistic outputs for support vector machines*,
    1999), so that classes that don't overlap give a finite curve.
    Raises ValueError where one of the classes is empty.

    >>> fit_logistic(torch.tensor([0.8, 0.9]), torch.tensor([0.1, 0.2])).sign().tolist()
    [1.0, -1.0]
    """
    n_positive, n_negative = len(positives), len(negatives)
    if not n_positive or not n_negative:
        raise ValueError(
            f"calibration needs pairs of both classes, got {n_positive} positive and {n_negative} negative"
        )
    values = torch.cat([positives, negatives]).double()
    middle, spread = values.mean(), values.std().clamp(min=1e-6)
    x = torch.stack([(values - middle) / spread, torch.ones_like(values)], dim=1)  # (P + M, 2)
    targets = torch.cat(
        [
            values.new_full((n_positive,), (n_positive + 1) / (n_positive + 2)),
            values.new_full((n_negative,), 1 / (n_negative + 2)),
        ]
    )
    weights = torch.cat(
        [values.new_full((n_positive,), 0.5 / n_positive), values.new_full((n_negative,), 0.5 / n_negative)]
    )
    solution = values.new_zeros(2)
    loss = _loss(solution, x, targets, weights)
    for _ in range(_STEPS):
        p = torch.sigmoid(x @ solution)
        gradient = x.T @ (weights * (p - targets)) + _RIDGE * solution
        curvature = (x * (weights * p * (1 - p))[:, None]).T @ x + _RIDGE * torch.eye(2, dtype=x.dtype)
        step = torch.linalg.solve(curvature, gradient)
        while (after := _loss(solution - step, x, targets, weights)) > loss and step.norm() > 1e-10:
            step = step / 2
        solution = solution - step
        if loss - after < 1e-12:
            break
        loss = after
    slope = solution[0] / spread
    return torch.stack([slope, solution[1] - slope * middle]).to(positives.dtype)


def _loss(solution: Tensor, x: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    logits = x @ solution
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weights * each).sum() + _RIDGE * solution.square().sum() / 2
