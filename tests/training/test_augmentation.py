import numpy as np
import pytest

from lookalike.training.augmentation import augmented, random_crop


def test_crops_cover_the_share_and_have_the_ratio_that_is_asked_for():
    random = np.random.default_rng(0)
    for _ in range(500):
        top, left, height, width = random_crop((90, 140), (0.16, 0.5), random)
        assert top >= 0 and top + height <= 90 and left >= 0 and left + width <= 140
        assert 0.155 <= height * width / (90 * 140) <= 0.51  # sides are rounded
        assert 0.73 <= width / height <= 1.37


def test_where_no_crop_fits_the_largest_in_the_center_is_taken():
    assert random_crop((10, 100), (1.0, 1.0), np.random.default_rng(0)) == (0, 43, 10, 13)  # ratio 4/3
    assert random_crop((100, 9), (1.0, 1.0), np.random.default_rng(0)) == (44, 0, 12, 9)  # ratio 3/4


def test_the_same_seed_makes_the_same_picture_and_another_does_not():
    picture = np.random.default_rng(0).integers(0, 256, (60, 85, 3)).astype(np.uint8)
    first, again, other = (
        augmented(picture, (32, 48), area=(0.16, 1.0), flip=0.5, random=np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    assert first.shape == (32, 48, 3) and first.dtype == np.uint8
    assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_flip_mirrors_the_part_that_would_have_been_seen():
    picture = np.random.default_rng(0).integers(0, 256, (60, 85, 3)).astype(np.uint8)
    plain, mirrored = (
        augmented(picture, (32, 48), area=(0.3, 1.0), flip=flip, random=np.random.default_rng(7))
        for flip in (0.0, 1.0)
    )
    assert np.array_equal(plain[:, ::-1], mirrored)


@pytest.mark.parametrize(("size", "corner"), [((60, 85), 0), ((60, 85), 255)])
def test_a_whole_picture_is_resized_and_not_cut(size, corner):
    """Planted: the left half is dark, the right half bright."""
    picture = np.zeros((*size, 3), np.uint8)
    picture[:, size[1] // 2 :] = 255
    small = augmented(picture, (30, 40), area=(0.999, 1.0), flip=0.0, random=np.random.default_rng(1))
    column = 0 if corner == 0 else -1
    assert (small[:, column] == corner).all()
