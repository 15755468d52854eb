"""OpenCV's bilinear resize: numbers that OpenCV 5 gave, and its rule for half the size."""

import numpy as np
import pytest

from lookalike.images import Preprocessing
from lookalike.images.opencv_resize import opencv_resize


def picture(height, width):
    """Levels without pattern, the same everywhere."""
    numbers = (np.arange(height * width * 3, dtype=np.uint64) * 2654435761 + 12345) % 2**32
    return (numbers >> 24).astype(np.uint8).reshape(height, width, 3)


def sum_of(pixels):
    return int((pixels.astype(np.int64).ravel() * (np.arange(pixels.size) % 97 + 1)).sum())


@pytest.mark.parametrize(
    ("size", "wanted", "expected", "last"),
    [
        ((30, 41), (12, 10), 2131456, [231, 133, 35]),
        ((9, 7), (20, 31), 11334004, [244, 146, 48]),
        ((100, 90), (64, 224), 268388936, [25, 183, 85]),
        ((1, 5), (8, 8), 1087467, [106, 8, 167]),
        ((61, 3), (7, 2), 117736, [80, 201, 131]),
    ],
)
def test_the_levels_are_those_of_opencv(size, wanted, expected, last):
    found = opencv_resize(picture(*size), wanted)
    assert found.shape == (*wanted, 3) and found.dtype == np.uint8
    assert sum_of(found) == expected and found[-1, -1].tolist() == last


def test_a_picture_of_twice_the_size_is_averaged():
    pixels = picture(12, 20)
    expected = (pixels.reshape(6, 2, 10, 2, 3).sum((1, 3), dtype=np.int64) + 2) // 4
    np.testing.assert_array_equal(opencv_resize(pixels, (6, 10)), expected)


def test_the_same_size_changes_nothing():
    np.testing.assert_array_equal(opencv_resize(picture(7, 9), (7, 9)), picture(7, 9))


def test_opencv_goes_with_squash_only():
    with pytest.raises(ValueError, match="opencv goes with mode squash"):
        Preprocessing("crop", (224, 224), interpolation="opencv")
