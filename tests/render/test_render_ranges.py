import numpy as np
import pytest
from made_up import explanation, flat_map, one_hot

from lookalike.render import shared_range
from lookalike.render.brush import Brush, density
from lookalike.render.ranges import per_percent, side_limits


def test_shared_range_is_symmetric_and_reaches_the_largest_absolute_value():
    maps = [np.array([[0.1, -0.9]], np.float32), np.array([[0.3], [0.2]], np.float32)]
    assert shared_range(*maps) == (pytest.approx(-0.9), pytest.approx(0.9))


def test_shared_range_of_zero_maps_is_zero():
    low, high = shared_range(np.zeros((2, 3), np.float32))
    assert low == high == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_map_that_is_not_finite_is_refused_with_its_cell(bad):
    values = np.zeros((2, 3), np.float32)
    values[1, 2] = bad
    with pytest.raises(ValueError, match="row 1, column 2"):
        shared_range(values)


@pytest.mark.parametrize("shape", [(6,), (0, 3), (1, 2, 3)])
def test_a_map_that_is_no_grid_is_refused(shape):
    with pytest.raises(ValueError, match="two axes"):
        shared_range(np.zeros(shape, np.float32))


def test_shared_range_without_maps_is_refused():
    with pytest.raises(ValueError, match="at least one map"):
        shared_range()


def test_the_same_density_on_two_grids_has_the_same_value_per_percent():
    coarse, fine = np.full((7, 7), 0.8 / 49), np.full((10, 14), 0.8 / 140)
    np.testing.assert_allclose(
        per_percent(flat_map(coarse, (9, 9), "a")).values[0, 0],
        per_percent(flat_map(fine, (9, 9), "a")).values[0, 0],
        rtol=1e-6,
    )


def test_the_mean_per_percent_times_100_is_the_sum_of_the_shares():
    shares = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
    assert per_percent(flat_map(shares, (9, 9), "a")).values.mean() * 100 == pytest.approx(
        shares.sum(), rel=1e-5
    )


def spread_and_peak():
    """The same sum over 10 cells of the query, and in one cell of 12 of the match."""
    return explanation(np.full((2, 5), 0.09, np.float32), one_hot((4, 3), (3, 2), 0.9))


def test_both_sides_share_a_range_unless_one_would_be_blank():
    near = explanation(one_hot((2, 5), (0, 1), 0.5), one_hot((4, 3), (3, 2), 0.9))
    assert side_limits([near]) == (pytest.approx(0.9 * 0.12), pytest.approx(0.9 * 0.12))  # .05 and .108
    assert side_limits([spread_and_peak()]) == (pytest.approx(0.009), pytest.approx(0.108))
    assert side_limits([near, spread_and_peak()]) == (pytest.approx(0.108), pytest.approx(0.108))
    weak = explanation(one_hot((2, 5), (0, 1), 0.2), one_hot((4, 3), (3, 2), 0.9))  # carries little
    assert side_limits([weak]) == (pytest.approx(0.108), pytest.approx(0.108))


def test_a_query_with_a_range_of_its_own_has_its_full_color():
    far = spread_and_peak()
    brush = Brush.of([far], colors="lookalike", smooth=False)
    query, size = density(far, far.query), far.query.picture.original_size
    alone = np.asarray(brush.for_queries().paint(query, size, muted=False), int)
    shared = np.asarray(brush.paint(query, size, muted=False), int)
    gray = np.asarray(far.query.picture.image, int)
    assert abs(alone - gray).max() > 2 * abs(shared - gray).max() > 0
