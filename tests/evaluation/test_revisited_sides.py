"""Query boxes as the published evaluation cuts them, and rows that stay on disk."""

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.errors import DatasetError
from lookalike.evaluation.revisited_images import cropped
from lookalike.evaluation.vector_blocks import NpyRows, open_vectors
from lookalike.images import Preprocessing

FIT = Preprocessing("fit", (100, 100), interpolation="lanczos")


@pytest.fixture
def photo(tmp_path):
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 256, (120, 200, 3), dtype=np.uint8)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_a_crop_is_shrunk_by_the_factor_of_its_whole_picture(photo):
    # 200 pixels become 100, so a box of 61 x 40 becomes 30 x 20 (rounded)
    assert cropped(photo, (10.4, 19.6, 71.2, 60.3), FIT).size == (30, 20)


def test_a_crop_keeps_its_pixels_where_the_model_resizes_itself(photo):
    with Image.open(photo) as whole:
        expected = np.asarray(whole)[20:60, 10:71]
    squash = Preprocessing("squash", (64, 48))
    np.testing.assert_array_equal(np.asarray(cropped(photo, (10.4, 19.6, 71.2, 60.3), squash)), expected)


def test_a_box_is_cut_at_the_border_and_refused_beyond_it(photo):
    squash = Preprocessing("squash", (64, 48))
    assert cropped(photo, (-5, -5, 20, 500), squash).size == (20, 120)
    assert cropped(photo, None, squash).size == (200, 120)
    with pytest.raises(DatasetError, match=r"lies outside its 200 x 120 pixels"):
        cropped(photo, (300, 10, 400, 50), squash)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4", "<i4"])
def test_rows_read_in_parts_are_those_of_the_file(tmp_path, dtype):
    rows = np.random.default_rng(1).integers(-9, 9, (23, 3)).astype(dtype)
    np.save(tmp_path / "rows.npy", rows)
    opened = open_vectors(tmp_path / "rows.npy")
    assert isinstance(opened.rows, NpyRows) and (len(opened), opened.width) == (23, 3)
    parts = list(opened.blocks(10))
    assert [len(part) for part in parts] == [10, 10, 3]
    torch.testing.assert_close(torch.cat(parts), torch.from_numpy(rows.astype(np.float32)))


def test_columns_first_and_other_files_are_read_whole(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "turned.npy", np.asfortranarray(rows))
    torch.save(torch.from_numpy(rows), tmp_path / "rows.pt")
    for name in ("turned.npy", "rows.pt"):
        torch.testing.assert_close(open_vectors(tmp_path / name).whole(), torch.from_numpy(rows))
