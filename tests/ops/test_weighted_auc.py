"""The weighted area under the ROC curve, by scikit-learn and by a loop over pairs."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from lookalike.ops.weighted_auc import weighted_auc


def test_it_equals_scikit_learn_with_weights_and_ties(noise):
    values = (2 * noise(40)).round()
    positive, negative = noise(40, seed=1).abs(), noise(40, seed=2).abs()
    expected = roc_auc_score(
        [1] * 40 + [0] * 40, values.repeat(2), sample_weight=torch.cat([positive, negative])
    )
    assert weighted_auc(values, positive, negative) == pytest.approx(expected, abs=1e-9)


def test_it_equals_a_loop_over_pairs(noise):
    values = noise(9).round()
    positive, negative = noise(9, seed=1).abs().double(), noise(9, seed=2).abs().double()
    total = wins = 0.0
    for i in range(9):
        for j in range(9):
            weight = float(positive[i] * negative[j])
            total += weight
            wins += weight * (1.0 if values[i] > values[j] else 0.5 if values[i] == values[j] else 0.0)
    assert weighted_auc(values, positive, negative) == pytest.approx(wins / total, abs=1e-12)


def test_a_group_without_weight_and_nan_are_refused():
    ones = torch.ones(3)
    with pytest.raises(ValueError, match="without any"):
        weighted_auc(torch.arange(3.0), ones, 0 * ones)
    with pytest.raises(ValueError, match="got 1 NaN"):
        weighted_auc(torch.tensor([0.0, torch.nan, 1.0]), ones, ones)
