"""Curves of hiding and the fit to masks: numbers by hand, oracles and a model with known importance."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr, spearmanr

from lookalike.ops.faithfulness import (
    area_under,
    average_drop,
    insertion_deletion_area,
    mask_fit,
    scaled_curve,
)


def present(n_cells, n_masks, seed=0):
    """Masks with each cell kept at a chance of one half, (M, N) bool."""
    return torch.rand(n_masks, n_cells, generator=torch.Generator().manual_seed(seed)) < 0.5


def curves(importance, order):
    """Insertion and deletion curve of an additive model, cells handled in this order."""
    gained = torch.cat([torch.zeros(1), importance[order].cumsum(0)])
    return gained, importance.sum() - gained


def test_a_scaled_curve_starts_and_ends_at_0_and_1_and_may_leave_the_range():
    scaled = scaled_curve(torch.tensor([-0.2, 0.8, 0.6, 0.3]), full=0.3, empty=-0.2)
    torch.testing.assert_close(scaled, torch.tensor([0.0, 2.0, 1.6, 1.0]))


def test_a_curve_that_goes_nowhere_is_refused():
    with pytest.raises(ValueError, match=r"is 0\.4 before and after"):
        scaled_curve(torch.tensor([0.4, 0.1, 0.4]), full=0.4, empty=0.4)


def test_area_by_hand_and_by_numpy(noise):
    assert area_under(torch.tensor([0.0, 4.0, 2.0])) == pytest.approx((2 + 3) / 2)
    curve = noise(7)
    assert area_under(curve) == pytest.approx(np.trapezoid(curve.numpy(), dx=1 / 6), abs=1e-6)


def test_an_area_of_one_point_is_refused():
    with pytest.raises(ValueError, match="at least 2 points"):
        area_under(torch.tensor([1.0]))


def test_the_right_order_of_an_additive_model_gets_most_and_its_reverse_least():
    """Importance 3, 2, 1, 0 of 6: insertion 0 3 5 6 6 has area 17 / 4, deletion 6 3 1 0 0 has 7 / 4."""
    importance = torch.tensor([1.0, 3.0, 0.0, 2.0])
    order = importance.argsort(descending=True)
    best = insertion_deletion_area(*curves(importance, order))
    assert best == pytest.approx((17 - 7) / 4)
    assert insertion_deletion_area(*curves(importance, order.flip(0))) == pytest.approx(-best)


def test_random_orders_get_nothing_on_average(noise):
    """The model is not additive; 4000 orders have a standard error of about 0.01."""
    weights = noise(6).abs()
    generator = torch.Generator().manual_seed(0)
    areas = []
    for _ in range(4000):
        shown = torch.ones(6, 6).tril()[:, torch.randperm(6, generator=generator)]
        shown = torch.cat([torch.zeros(1, 6), shown])
        insertion, deletion = ((kept @ weights) ** 2 for kept in (shown, 1 - shown))
        areas.append(insertion_deletion_area(insertion / insertion[-1], deletion / deletion[0]))
    assert abs(np.mean(areas)) < 4 * np.std(areas) / 4000**0.5
    assert np.std(areas) > 0.1


def test_average_drop_by_hand():
    assert average_drop(0.8, 0.2) == pytest.approx(0.75)
    assert average_drop(0.8, -0.4) == pytest.approx(1.5)
    assert average_drop(0.8, 0.9) == 0


@pytest.mark.parametrize("full", [0.0, -0.3, float("nan")])
def test_a_drop_from_nothing_is_refused(full):
    with pytest.raises(ValueError, match="positive similarity"):
        average_drop(full, 0.1)


def test_mask_fit_equals_scipy(noise):
    attributions, kept, similarities = noise(15), present(15, 40), noise(40, seed=2)
    sums = kept.double() @ attributions.double()
    r_squared, spearman = mask_fit(attributions, kept, similarities)
    assert r_squared == pytest.approx(pearsonr(sums, similarities).statistic ** 2, abs=1e-9)
    assert spearman == pytest.approx(spearmanr(sums, similarities).statistic, abs=1e-9)


def test_the_true_shares_of_an_additive_model_fit_perfectly_whatever_their_scale(noise):
    shares, kept = noise(3 * 5), present(15, 50)
    similarities = kept.float() @ shares + 0.3
    for scale in (1.0, 1e-6, 1e6):
        assert mask_fit(scale * shares, kept, similarities)[0] == pytest.approx(1)
    wrong = mask_fit(shares.view(3, 5).flip(1).flatten(), kept, similarities)
    assert wrong[0] < 0.5


def test_a_map_of_the_wrong_sign_is_seen_by_the_ranks_only(noise):
    shares, kept = noise(15), present(15, 50)
    r_squared, spearman = mask_fit(-shares, kept, kept.float() @ shares)
    assert (r_squared, spearman) == (pytest.approx(1), pytest.approx(-1))


def test_a_flat_map_fits_well_where_masks_keep_different_numbers_of_cells(noise):
    """The trap that the docstring warns of."""
    shares, kept = 1 + 0.2 * noise(15), present(15, 200)
    assert mask_fit(torch.ones(15), kept, kept.float() @ shares)[0] > 0.8
    same_number = torch.rand(200, 15, generator=torch.Generator().manual_seed(0)).argsort(1) < 7
    for flat in (0.1, 1 / 3):
        assert mask_fit(torch.full((15,), flat), same_number, same_number.float() @ shares) == (0, 0)


def test_equal_sums_are_ties_although_they_are_added_in_another_order():
    """Each mask keeps one of three equal pairs of values: the sums are the same but for rounding."""
    values = torch.tensor([0.1, 0.2, 0.7] * 11, dtype=torch.float64)
    kept = torch.stack([torch.roll(torch.arange(33) < 30, 3 * shift) for shift in range(11)])
    assert mask_fit(values, kept, torch.arange(11.0)) == (0, 0)


def test_a_side_without_variation_fits_nothing(noise):
    kept = present(15, 20)
    assert mask_fit(torch.zeros(15), kept, noise(20)) == (0, 0)
    assert mask_fit(noise(15), kept, torch.full((20,), 0.3)) == (0, 0)
    assert mask_fit(noise(15), kept[:1].expand(20, -1), noise(20)) == (0, 0)


def test_two_masks_are_refused(noise):
    with pytest.raises(ValueError, match="at least 3 masks, got 2"):
        mask_fit(noise(15), present(15, 2), noise(2))
