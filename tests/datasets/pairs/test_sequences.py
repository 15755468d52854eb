import numpy as np
import pytest

from lookalike.datasets.pairs import read_pairs
from lookalike.errors import DatasetError


@pytest.fixture
def sequences(tmp_path, picture):
    """A sequence with images 1, 2, 3 and homographies to 2 and 5, and one without homographies."""
    for name in ("v_wall/1.ppm", "v_wall/2.ppm", "v_wall/3.ppm", "v_roof/1.jpg", "v_roof/4.jpg"):
        picture(name)
    for k in (2, 5):
        (tmp_path / f"v_wall/H_1_{k}").write_text("1 0 2.5\n0 2 -1\n0 0 1\n")
    return tmp_path


def test_the_first_image_pairs_with_those_of_which_image_and_homography_exist(sequences):
    (pair,) = read_pairs(sequences, limit=10)
    assert (pair.query.path.name, pair.match.path.name) == ("1.ppm", "2.ppm")
    assert pair.query.label == pair.match.label == "v_wall"
    np.testing.assert_array_equal(pair.homography, [[1, 0, 2.5], [0, 2, -1], [0, 0, 1]])
    assert pair.homography.dtype == np.float32


def test_a_byte_order_mark_is_no_part_of_a_homography(sequences):
    (sequences / "v_wall/H_1_2").write_text("1 0 4\n0 1 0\n0 0 1\n", encoding="utf-8-sig")
    (pair,) = read_pairs(sequences, limit=10)
    assert pair.homography[0, 2] == 4


def test_one_sequence_is_read_by_its_own_path(sequences):
    (pair,) = read_pairs(sequences / "v_wall", limit=10)
    assert pair.key == "v_wall: 1.ppm | 2.ppm"
    assert pair.query.label == "v_wall"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 0 0 0 1 0 0 0", r"H_1_2 is not 9 numbers"),
        ("1 0 0 0 1 0 0 0 nan", r"H_1_2 is not 9 numbers"),
        ("1 0 0 2 0 0 0 0 1", r"H_1_2 is no homography: its matrix can't be inverted"),
    ],
)
def test_a_malformed_homography_names_its_file(sequences, text, message):
    (sequences / "v_wall/H_1_2").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_pairs(sequences, limit=10)


@pytest.mark.weights
def test_real_sequences_are_ten_pairs_and_none_of_the_incomplete_one(shared):
    pairs = read_pairs(shared / "data/hpatches", limit=100)
    assert sorted(p.query.label for p in pairs) == ["v_churchill"] * 5 + ["v_wormhole"] * 5
    churchill = {p.match.path.stem: p.homography for p in pairs if p.query.label == "v_churchill"}
    np.testing.assert_allclose(churchill["2"][0], [2.3594, 0.0026252, -116.05], rtol=1e-6)
