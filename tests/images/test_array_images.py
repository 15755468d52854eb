import subprocess
import sys

import numpy as np
import pytest
import torch

from lookalike.errors import UnreadableImageError
from lookalike.images import Preprocessing, load, read, read_all

RGB = np.random.default_rng(0).integers(0, 256, (7, 11, 3), dtype=np.uint8)


def pixels(source):
    return np.asarray(load(source).image)


def test_an_array_is_loaded_as_it_is_and_copied():
    picture = load(RGB, name="made")
    np.testing.assert_array_equal(np.asarray(picture.image), RGB)
    assert (picture.original_size, picture.name) == ((7, 11), "made")
    given = RGB.copy()
    picture = load(given)
    given[:] = 0
    np.testing.assert_array_equal(np.asarray(picture.image), RGB)


def test_a_strided_array_is_loaded_as_its_values():
    np.testing.assert_array_equal(pixels(RGB[::-1, ::2]), RGB[::-1, ::2])


def test_a_gray_array_has_three_equal_channels():
    np.testing.assert_array_equal(pixels(RGB[..., 0]), np.stack([RGB[..., 0]] * 3, axis=-1))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_a_tensor_is_channels_first(dtype):
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)
    tensor = tensor if dtype == torch.uint8 else tensor.to(dtype) / 255
    np.testing.assert_array_equal(pixels(tensor), RGB)


def test_half_precision_and_gradients_do_not_matter():
    tensor = torch.full((3, 5, 8), 0.5, dtype=torch.bfloat16, requires_grad=True)
    assert (pixels(tensor) == 128).all()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (RGB.astype(np.float32), r"dtype uint8; got \(7, 11, 3\) of float32"),
        (RGB.transpose(2, 0, 1), r"\(H, W, 3\) RGB or \(H, W\) gray of dtype uint8; got \(3, 7, 11\)"),
        (RGB[None], r"got \(1, 7, 11, 3\)"),
        (np.zeros(9, np.uint8), r"got \(9,\)"),
        (torch.zeros(7, 11, 3), r"is \(3, H, W\) RGB.*got \(7, 11, 3\)"),
        (torch.zeros(3, 7, 11, dtype=torch.int64), "got .* of torch.int64"),
        (torch.full((3, 7, 11), float("nan")), "NaN"),
        (torch.full((3, 7, 11), 1.5), r"got 1.5 to 1.5; undo its normalization"),
        (torch.full((3, 7, 11), -0.1), r"got -0.1 to -0.1"),
    ],
)
def test_other_arrays_are_refused(source, message):
    with pytest.raises(ValueError, match=message):
        load(source)


@pytest.mark.parametrize("shape", [(0, 4, 3), (1, 1, 3)])
def test_arrays_without_a_picture_are_refused(shape):
    with pytest.raises(UnreadableImageError, match="pixel"):
        load(np.zeros(shape, np.uint8))


def test_other_kinds_are_refused():
    with pytest.raises(TypeError, match="a numpy array, a torch tensor or a Picture; got int"):
        load(3)


@pytest.mark.parametrize("workers", [0, 2])
def test_read_all_keeps_the_order_of_mixed_sources(workers, pictures, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(4)]
    for path, picture in zip(paths, pictures, strict=True):
        picture.save(path)
    sources = [paths[0], RGB, str(paths[1]), pictures[2], *paths * 20]
    preprocessing = Preprocessing("squash", (12, 20))
    found = list(read_all(iter(sources), preprocessing, workers=workers))
    assert len(found) == len(sources)
    for array, source in zip(found, sources, strict=True):
        np.testing.assert_array_equal(array, read(source, preprocessing).pixels)


@pytest.mark.parametrize("workers", [0, 1])
def test_read_all_names_the_file_that_fails(workers, tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"no picture")
    with pytest.raises(UnreadableImageError, match=r"broken\.jpg"):
        list(read_all([RGB, broken], Preprocessing("squash", (12, 20)), workers=workers))


def test_images_do_not_import_torch():
    code = "import sys, lookalike.images; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
