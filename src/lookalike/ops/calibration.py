"""Calibration of cosines and other evidence to probabilities: logistic regression."""

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
    return fit_logistic_plane(positives[:, None], negatives[:, None])


def fit_logistic_plane(
    positives: Float[Tensor, "P F"], negatives: Float[Tensor, "M F"]
) -> Float[Tensor, " F+1"]:
    """Slopes and intercept of ``sigmoid(slopes @ x + intercept)``, as ``fit_logistic``: (F + 1,).

    Raises ValueError where one of the classes is empty.
    """
    n_positive, n_negative = len(positives), len(negatives)
    if not n_positive or not n_negative:
        raise ValueError(
            f"calibration needs pairs of both classes, got {n_positive} positive and {n_negative} negative"
        )
    values = torch.cat([positives, negatives]).double()
    middle, spread = values.mean(0), values.std(0).clamp(min=1e-6)
    x = torch.cat([(values - middle) / spread, values.new_ones(len(values), 1)], dim=1)  # (P + M, F + 1)
    targets = torch.cat(
        [
            values.new_full((n_positive,), (n_positive + 1) / (n_positive + 2)),
            values.new_full((n_negative,), 1 / (n_negative + 2)),
        ]
    )
    weights = torch.cat(
        [values.new_full((n_positive,), 0.5 / n_positive), values.new_full((n_negative,), 0.5 / n_negative)]
    )
    solution = values.new_zeros(x.shape[1])
    ridge = _RIDGE * torch.eye(x.shape[1], dtype=x.dtype)
    loss = _loss(solution, x, targets, weights)
    for _ in range(_STEPS):
        p = torch.sigmoid(x @ solution)
        gradient = x.T @ (weights * (p - targets)) + _RIDGE * solution
        curvature = (x * (weights * p * (1 - p))[:, None]).T @ x + ridge
        step = torch.linalg.solve(curvature, gradient)
        while (after := _loss(solution - step, x, targets, weights)) > loss and step.norm() > 1e-10:
            step = step / 2
        solution = solution - step
        if loss - after < 1e-12:
            break
        loss = after
    slopes = solution[:-1] / spread
    return torch.cat([slopes, solution[-1:] - slopes @ middle]).to(positives.dtype)


def _loss(solution: Tensor, x: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    logits = x @ solution
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weights * each).sum() + _RIDGE * solution.square().sum() / 2
