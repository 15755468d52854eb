"""Logistic regression on cosines: planted curves, scikit-learn, separated classes."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from lookalike.ops.calibration import fit_logistic


def planted(noise, n=4000):
    """Cosines whose log-odds are 8 (x - 0.6): two normal densities of the same width."""
    spread, gap = 0.2, 8 * 0.2**2
    return 0.6 + gap / 2 + spread * noise(n), 0.6 - gap / 2 + spread * noise(n, seed=1)


def test_a_planted_curve_is_found(noise):
    slope, intercept = fit_logistic(*planted(noise)).tolist()
    assert slope == pytest.approx(8, rel=0.1) and -intercept / slope == pytest.approx(0.6, abs=0.02)


def test_the_curve_is_that_of_scikit_learn(noise):
    positives, negatives = planted(noise)
    positives = positives[:500]
    oracle = LogisticRegression(C=np.inf, class_weight="balanced")
    values = torch.cat([positives, negatives]).numpy()[:, None]
    oracle.fit(values, [1] * len(positives) + [0] * len(negatives))
    slope, intercept = fit_logistic(positives, negatives).tolist()
    assert slope == pytest.approx(oracle.coef_[0, 0], rel=0.05)
    assert intercept == pytest.approx(oracle.intercept_[0], rel=0.05)


def test_classes_that_are_apart_give_a_finite_curve():
    slope, intercept = fit_logistic(torch.linspace(0.8, 1, 50), torch.linspace(0, 0.2, 50)).tolist()
    assert 0 < slope < 1000 and 0.2 < -intercept / slope < 0.8
