"""Numbers of maps by themselves: by hand, by oracle, and on planted maps."""

import math

import pytest
import torch
from scipy.stats import entropy, spearmanr

from lookalike.ops.map_stability import concentration, map_correlation, relative_distance


def test_correlation_of_maps_is_spearmans(noise):
    a, b = noise(4, 7), noise(4, 7, seed=1)
    assert map_correlation(a, b) == pytest.approx(spearmanr(a.flatten(), b.flatten()).statistic, abs=1e-12)
    assert map_correlation(a, torch.ones(4, 7)) == 0


def test_correlation_of_maps_sees_a_mirror_but_not_a_curve_of_the_values(noise):
    a = noise(4, 7)
    assert map_correlation(a, a**3) == 1
    ramp = torch.arange(7.0).expand(4, 7)
    assert map_correlation(ramp, ramp.flip(1)) == pytest.approx(-1)
    assert map_correlation(ramp, ramp.flip(0)) == pytest.approx(1)


def test_relative_distance_by_hand():
    a = torch.tensor([[2.0, 0.0, 1.0], [2.0, 0.0, 0.0]])
    b = a.clone()
    b[1, 2] = -6.0
    assert relative_distance(a, b) == pytest.approx(6 / 3)
    assert relative_distance(b, a) == pytest.approx(6 / 45**0.5)
    assert relative_distance(a, 3 * a) == pytest.approx(2)


def test_relative_distance_from_nothing():
    nothing, something = torch.zeros(2, 3), torch.ones(2, 3)
    assert relative_distance(nothing, nothing) == 0
    assert relative_distance(nothing, something) == math.inf


def test_concentration_of_planted_maps(noise):
    one = torch.zeros(3, 5)
    one[1, 4] = 0.2
    assert concentration(one) == 1
    assert concentration(torch.full((3, 5), 0.2)) == pytest.approx(0, abs=1e-12)
    assert concentration(-one) == 0
    assert concentration(one - torch.ones(3, 5)) == 0
    values = noise(3, 5).abs()
    expected = 1 - entropy(values.double().flatten()) / math.log(15)
    assert concentration(values) == pytest.approx(expected, abs=1e-9)


def test_mass_on_half_the_cells_of_a_finer_grid_is_more_concentrated():
    """1 - log(N / 2) / log N shrinks with N: the reason why grids of other sizes are not compared."""
    coarse, fine = torch.zeros(2, 4), torch.zeros(4, 8)
    coarse[:, :2], fine[:, :4] = 1.0, 1.0
    assert concentration(coarse) == pytest.approx(1 / 3)
    assert concentration(fine) == pytest.approx(1 / 5)


def test_a_single_cell_has_no_concentration():
    with pytest.raises(ValueError, match="at least 2 cells, got 1"):
        concentration(torch.ones(1, 1))


def test_a_map_with_nan_has_no_concentration():
    with pytest.raises(ValueError, match="must be finite"):
        concentration(torch.tensor([[1.0, torch.nan, 0.0]]))
