"""Gaussian blur against scipy, and on what it must leave as it is."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from lookalike.ops.blurring import gaussian_blur


def test_the_blur_is_scipys_with_repeated_borders(noise):
    images = noise(2, 3, 19, 26, dtype=torch.float64)
    expected = [
        [gaussian_filter(channel.numpy(), 5.0, mode="nearest", radius=5) for channel in image]
        for image in images
    ]
    np.testing.assert_allclose(gaussian_blur(images).numpy(), expected, atol=1e-12)


def test_a_constant_image_smaller_than_the_kernel_stays_as_it_is():
    image = torch.full((1, 3, 4, 7), 0.25)
    torch.testing.assert_close(gaussian_blur(image), image)


@pytest.mark.parametrize(("size", "sigma"), [(10, 5.0), (-1, 5.0), (11, 0.0)])
def test_a_kernel_without_a_center_is_refused(size, sigma):
    with pytest.raises(ValueError, match="odd positive size"):
        gaussian_blur(torch.zeros(1, 1, 5, 5), size=size, sigma=sigma)
