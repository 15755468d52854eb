"""Regions of an image: what a polygon covers, however large the image is."""

import numpy as np
import pytest
import torch

from lookalike.gallery.regions import _inside_of
from lookalike.types import Geometry

STAR = [(20.5, 10.25), (150.0, 31.5), (60.0, 61.0), (180.75, 120.5), (35.0, 92.0)]


def is_inside(x, y, polygon):
    """Even-odd rule, edge by edge."""
    inside = np.zeros(np.broadcast(x, y).shape, bool)
    for (x0, y0), (x1, y1) in zip(polygon, polygon[1:] + polygon[:1], strict=True):
        crosses = (y0 > y) != (y1 > y)
        with np.errstate(divide="ignore", invalid="ignore"):
            inside ^= crosses & (x < x0 + (y - y0) / (y1 - y0) * (x1 - x0))
    return inside


@pytest.mark.parametrize("moved", [(0, 0), (-60, -40), (90, 45)])  # the last two reach beyond the image
def test_a_polygon_covers_of_each_cell_what_counting_points_says(moved):
    polygon = [(x + moved[0], y + moved[1]) for x, y in STAR]
    geometry = Geometry((130, 200), (96, 160), (7.5, 11.0, 110.0, 180.0))
    found = _inside_of(polygon, (130, 200)).coverage(geometry, (5, 7)).reshape(5, 7)
    n = 200
    y = 7.5 + (np.arange(5 * n) + 0.5) * 110 / (5 * n)
    x = 11 + (np.arange(7 * n) + 0.5) * 180 / (7 * n)
    points = is_inside(x[None], y[:, None], polygon)
    expected = points.reshape(5, n, 7, n).mean((1, 3))
    assert expected.max() > 0.5
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_a_polygon_on_a_picture_of_millions_of_rows_costs_no_more_than_on_a_small_one():
    size = (49_999_999, 1)
    inside = _inside_of([(0, 20_000_000), (1, 20_000_000), (1, 20_000_100), (0, 20_000_100)], size)
    assert inside.pixels == (0, 20_000_000, 1, 20_000_100)
    assert inside.mask.shape == (1024, 1024) and inside.mask.mean() > 0.99
    covered = inside.coverage(Geometry(size, (64, 64), (0, 0, *size)), (50, 2))  # a cell is 999,999.98 high
    assert float(covered[20 * 2]) == pytest.approx(1e-4, rel=0.01)
    assert torch.count_nonzero(covered > 1e-9) == 2


@pytest.mark.parametrize("far", [1e12, 1.5e300])
def test_corners_far_outside_cut_the_image_as_their_lines_say(far):
    inside = _inside_of([(50, -far), (far, -far), (far, far), (50, far)], (30, 100))
    assert inside.pixels == (50, 0, 100, 30) and inside.mask.mean() > 0.99


@pytest.mark.parametrize(
    "outside", [[(-9, -9), (-1, -9), (-5, -1)], [(0, 40), (100, 40), (50, 90)], [(3, 3)] * 3]
)
def test_a_polygon_that_covers_nothing_is_refused(outside):
    with pytest.raises(ValueError, match="covers none of the 100 x 30 pixels"):
        _inside_of(outside, (30, 100))
