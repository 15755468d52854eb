"""Intervals and tests over queries: against exact enumeration and normal theory."""

import itertools

import pytest
import torch

from lookalike.ops.resampling import bootstrap_intervals, sign_flip_p_values


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_interval_of_a_mean_is_that_of_normal_theory(noise):
    values = torch.stack([noise(400), 3 + 2 * noise(400, seed=1)], dim=1)
    low, high = bootstrap_intervals(values, generator=seeded(), n_resamples=4000).T
    means, errors = values.double().mean(0), values.double().std(0) / 20
    torch.testing.assert_close(low, means - 1.96 * errors, atol=0.012, rtol=0)
    torch.testing.assert_close(high, means + 1.96 * errors, atol=0.012, rtol=0)


def test_interval_covers_the_truth_about_as_often_as_it_says():
    """200 samples of 60 coin flips with p = 0.7: each its own 90 % interval."""
    flips = (torch.rand(60, 200, generator=seeded(3)) < 0.7).double()
    low, high = bootstrap_intervals(flips, generator=seeded(), n_resamples=800, confidence=0.9).T
    assert 0.84 < ((low <= 0.7) & (high >= 0.7)).double().mean() < 0.95


def test_p_value_approaches_the_enumeration_of_all_signs():
    differences = torch.tensor([0.3, -0.1, 0.5, 0.2, 0.0, 0.4, -0.2], dtype=torch.float64)
    signs = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=7)), dtype=torch.float64)
    observed = differences.mean().abs()
    exact = ((signs * differences).mean(1).abs() >= observed - 1e-12).double().mean()
    found = sign_flip_p_values(differences[:, None], generator=seeded(), n_resamples=40_000)
    assert found.item() == pytest.approx(exact.item(), abs=0.008)


def test_a_large_difference_has_the_least_p_value_and_none_has_one(noise):
    differences = torch.stack([torch.ones(50), torch.zeros(50)], dim=1) + 0.1 * noise(50, 1) * torch.tensor(
        [1, 0]
    )
    p_values = sign_flip_p_values(differences, generator=seeded(), n_resamples=999)
    torch.testing.assert_close(p_values, torch.tensor([1 / 1000, 1.0], dtype=torch.float64))


def test_the_same_seed_gives_the_same_answer_whatever_is_drawn_at_once(noise, monkeypatch):
    values = noise(30, 2)
    once = bootstrap_intervals(values, generator=seeded(), n_resamples=64)
    monkeypatch.setattr("lookalike.ops.resampling._NUMBERS", 30 * 7)
    torch.testing.assert_close(bootstrap_intervals(values, generator=seeded(), n_resamples=64), once)


def test_nothing_to_resample_is_refused():
    with pytest.raises(ValueError, match="0 queries"):
        bootstrap_intervals(torch.empty(0, 2), generator=seeded())
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_intervals(torch.ones(3, 2), generator=seeded(), confidence=95.0)
