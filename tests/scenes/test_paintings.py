import numpy as np
import pytest

from lookalike.scenes import paint, painting_format
from lookalike.scenes.paintings import _pixels

N = 92


@pytest.fixture(scope="module")
def thumbnails():
    """(N, 16 * 16 * 3) in [0, 1]: detail too small to see from across a room is gone."""
    return np.stack([np.asarray(paint(i, 64).reduce(4), np.float64).ravel() / 255 for i in range(N)])


def test_the_same_number_gives_the_same_painting():
    assert paint(11, 48).tobytes() == _picture_anew(11, 48)


def _picture_anew(painting_id, size):
    return _pixels.__wrapped__(painting_id, size).tobytes()


def test_paintings_differ_pairwise_even_as_thumbnails(thumbnails):
    distance = np.abs(thumbnails[:, None] - thumbnails[None]).mean(-1) + np.eye(N)
    assert distance.min() > 0.06


def test_paintings_are_no_flat_surfaces(thumbnails):
    assert thumbnails.std(axis=1).min() > 0.04


@pytest.mark.parametrize("painting_id", range(23))
def test_a_painting_looks_alike_at_every_size(painting_id):
    small = np.asarray(paint(painting_id, 64).reduce(4), np.float64)
    large = np.asarray(paint(painting_id, 128).reduce(8), np.float64)
    assert np.abs(small - large).mean() < 10


@pytest.mark.parametrize("size", [1, 33, 100])
def test_a_painting_is_square_and_rgb(size):
    for painting_id in (0, 5, 10**9):
        assert paint(painting_id, size).size == (size, size)
        assert paint(painting_id, size).mode == "RGB"


def test_changing_a_returned_painting_leaves_the_next_one_alone():
    first = paint(4, 32)
    before = first.tobytes()
    first.paste((255, 0, 0), (0, 0, 32, 32))
    assert paint(4, 32).tobytes() == before


def test_formats_vary_from_upright_to_wide():
    formats = {painting_format(i) for i in range(40)}
    assert min(formats) < 0.9
    assert max(formats) > 1.2


@pytest.mark.parametrize(("painting_id", "size"), [(-1, 64), (3, 0)])
def test_a_number_or_size_out_of_range_is_refused(painting_id, size):
    with pytest.raises(ValueError, match="at least 0 and size at least 1"):
        paint(painting_id, size)
