import numpy as np
import pytest
from PIL import Image

from lookalike.images import Preprocessing, load, prepare, read


def smooth(height, width):
    y, x = np.mgrid[0:height, 0:width]
    channels = (x * 255 / width, y * 255 / height, 128 + 60 * np.sin(x / 29) + 60 * np.cos(y / 37))
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def fit(side=96, **others):
    return Preprocessing("fit", (side, side), interpolation="lanczos", **others)


@pytest.mark.parametrize(
    "size", [(200, 131), (131, 200), (96, 300), (97, 95), (301, 299), (4000, 7), (2, 900)]
)
def test_fit_equals_pillows_thumbnail(size):
    picture = smooth(*size)
    thumbnail = picture.copy()
    thumbnail.thumbnail((96, 96), Image.Resampling.LANCZOS, reducing_gap=None)

    pixels, geometry = prepare(load(picture), fit())

    np.testing.assert_array_equal(pixels, np.asarray(thumbnail))
    assert geometry.input_size == pixels.shape[:2]
    assert geometry.crop == (0.0, 0.0, *map(float, size))


@pytest.mark.parametrize("target", [(48, 128), (128, 48), (60, 90)])
def test_fit_stays_inside_a_target_that_is_not_square_and_touches_it(target):
    pixels, _ = prepare(load(smooth(180, 250)), Preprocessing("fit", target))

    assert pixels.shape[0] <= target[0] and pixels.shape[1] <= target[1]
    assert pixels.shape[0] == target[0] or pixels.shape[1] == target[1]
    assert abs(pixels.shape[1] / pixels.shape[0] - 250 / 180) < 0.02


def test_fit_never_enlarges():
    picture = smooth(40, 61)

    pixels, geometry = prepare(load(picture), fit(1024))

    np.testing.assert_array_equal(pixels, np.asarray(picture))
    assert geometry.input_size == geometry.original_size == (40, 61)


def test_fit_of_a_jpeg_decoded_at_reduced_scale_is_close_to_the_whole_one(tmp_path):
    smooth(900, 1231).save(tmp_path / "large.jpg", quality=95)

    reading = read(tmp_path / "large.jpg", fit())
    whole, _ = prepare(load(tmp_path / "large.jpg"), fit())

    assert reading.pixels.shape == whole.shape == (70, 96, 3)
    assert np.abs(reading.pixels.astype(int) - whole).max() <= 4
    assert reading.geometry.crop == (0.0, 0.0, 900.0, 1231.0)


def test_fit_has_no_center_to_cut():
    with pytest.raises(ValueError, match="mode fit cuts nothing off"):
        fit(crop_pct=0.9)


def test_fit_comes_back_from_json():
    assert Preprocessing.from_dict(fit().to_dict()) == fit()
