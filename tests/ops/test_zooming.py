import numpy as np
import pytest
from scipy import ndimage

from lookalike.ops.zooming import zoomed_grid


@pytest.mark.parametrize("size", [(3, 5), (7, 4), (2, 13), (1, 9)])
def test_a_zoom_is_that_of_scipy_of_order_1(noise, size):
    values = noise(3, 5, 7)
    factors = (size[0] / 3, size[1] / 5, 1)
    expected = ndimage.zoom(values.numpy(), factors, order=1)
    np.testing.assert_allclose(zoomed_grid(values, size).numpy(), expected, atol=1e-6)


def test_corners_keep_their_values(noise):
    values = noise(3, 5, 2)
    zoomed = zoomed_grid(values, (8, 11))
    np.testing.assert_allclose(zoomed[[0, 0, -1, -1], [0, -1, 0, -1]], values[[0, 0, -1, -1], [0, -1, 0, -1]])
