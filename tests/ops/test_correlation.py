"""Correlations equal those of numpy and SciPy, and are never NaN."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from lookalike.ops.correlation import pearson_correlation, rank_correlation


def test_pearson_equals_numpy(noise):
    a, b = noise(4, 6), noise(4, 6, seed=1)
    expected = np.corrcoef(a.flatten(), b.flatten())[0, 1]
    assert pearson_correlation(a, b) == pytest.approx(expected, abs=1e-6)
    assert pearson_correlation(a, 3 * a + 2) == pytest.approx(1)
    assert pearson_correlation(a, -a) == pytest.approx(-1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rank_correlation_equals_scipy_with_many_ties(noise, dtype):
    a, b = ((2 * noise(5, 7, seed=seed, dtype=dtype)).round() for seed in (0, 1))
    b = b + a
    expected = spearmanr(a.flatten(), b.flatten()).statistic
    assert rank_correlation(a, b) == pytest.approx(expected, abs=1e-12)


def test_ranks_ignore_how_far_apart_values_are(noise):
    a, b = noise(3, 5), noise(3, 5, seed=1)
    assert rank_correlation(a.exp(), b) == rank_correlation(a, b)
    assert rank_correlation(a, a.exp()) == 1
    assert rank_correlation(a, -a) == -1


def test_the_unit_of_the_values_does_not_matter(noise):
    a, b = noise(3, 5, dtype=torch.float64), noise(3, 5, seed=1, dtype=torch.float64)
    expected = pearson_correlation(a, b)
    for unit in (1e-200, 1e200):
        assert pearson_correlation(unit * a, b) == pytest.approx(expected)


@pytest.mark.parametrize("correlation", [pearson_correlation, rank_correlation])
def test_a_constant_correlates_with_nothing(noise, correlation):
    a = noise(4, 6)
    for constant in (torch.zeros(4, 6), torch.full((4, 6), 0.1)):
        assert correlation(a, constant) == correlation(constant, a) == 0


def test_rounding_of_a_constant_is_no_signal(noise):
    constant = 0.1 + 1e-16 * noise(4, 6, dtype=torch.float64)
    assert constant.min() < constant.max()
    assert pearson_correlation(noise(4, 6), constant) == 0


@pytest.mark.parametrize("correlation", [pearson_correlation, rank_correlation])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_values_that_are_not_finite_are_refused(correlation, bad):
    with pytest.raises(ValueError, match="1 that are not among 3"):
        correlation(torch.tensor([1.0, 2.0, bad]), torch.tensor([1.0, 2.0, 4.0]))
