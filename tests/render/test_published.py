import numpy as np
import pytest
from made_up import flat_map, squashed

from lookalike.render.placement import place_cubic
from lookalike.render.published import jet_colors, published_scale


def convolved(values, size):
    """Cubic convolution with a = -0.75 as its definition says: a sum over all cells, edges repeated."""

    def kernel(x, a=-0.75):
        x = abs(x)
        if x <= 1:
            return (a + 2) * x**3 - (a + 3) * x**2 + 1
        return a * x**3 - 5 * a * x**2 + 8 * a * x - 4 * a if x < 2 else 0.0

    out = np.zeros(size)
    h, w = values.shape
    for y in range(size[0]):
        for x in range(size[1]):
            v, u = (y + 0.5) * h / size[0] - 0.5, (x + 0.5) * w / size[1] - 0.5
            for i in range(-3, h + 3):
                for j in range(-3, w + 3):
                    value = values[min(max(i, 0), h - 1), min(max(j, 0), w - 1)]
                    out[y, x] += kernel(v - i) * kernel(u - j) * value
    return out


def test_cubic_enlargement_is_the_sum_over_cells_that_defines_it():
    values = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    placed = place_cubic(values, squashed((13, 9)), (13, 9))
    np.testing.assert_allclose(placed, convolved(values, (13, 9)), atol=1e-6)


def test_jet_begins_dark_blue_is_green_in_the_middle_and_ends_dark_red():
    colors = jet_colors(np.array([0, 0.5, 1, -3, 4], np.float32)).astype(int)
    np.testing.assert_array_equal(colors[[0, 2]], [[0, 0, 128], [128, 0, 0]])
    assert colors[1].argmax() == 1
    np.testing.assert_array_equal(colors[[3, 4]], colors[[0, 2]])  # beyond the ends


@pytest.mark.parametrize("offset", [0.0, 1.0, -5.0])
def test_the_scale_reaches_the_ends_of_the_enlarged_map(offset):
    values = np.random.default_rng(1).normal(size=(3, 5)).astype(np.float32) * 1e-3 + np.float32(offset)
    image_map = flat_map(values, (40, 60), "a.png")
    enlarged = place_cubic(values - np.float32(offset), image_map.geometry, (40, 60))
    scale = published_scale(image_map, (40, 60))
    assert scale.low < values.min() and scale.high > values.max()  # a cubic overshoots
    assert scale.low - offset == pytest.approx(enlarged.min(), rel=1e-3)
    assert scale.high - offset == pytest.approx(enlarged.max(), rel=1e-3)
