from dataclasses import replace

import numpy as np
import pytest

from lookalike.datasets.pairs import ImagePair, KnownImage, read_pairs, write_pairs
from lookalike.errors import DatasetError


@pytest.fixture
def own(tmp_path, picture, mask):
    """Writes pairs.csv beside images a, b, c and the mask of a: own(lines)."""
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(name)
    mask("a_mask.png", np.ones((5, 7)))

    def write(*lines):
        (tmp_path / "pairs.csv").write_text("\n".join(lines) + "\n")
        return tmp_path

    return write


def test_two_columns_are_enough(own):
    pairs = read_pairs(own("query,match", "a.jpg,b.jpg", "a.jpg,c.jpg"), limit=10)
    assert {(p.query.path.name, p.match.path.name) for p in pairs} == {("a.jpg", "b.jpg"), ("a.jpg", "c.jpg")}
    assert {(p.query.mask, p.query.box, p.query.label, p.homography) for p in pairs} == {
        (None, None, "a.jpg", None)
    }


def test_a_table_of_any_name_is_read_by_its_path(own):
    folder = own("match,query", "a.jpg,b.jpg")
    (folder / "pairs.csv").rename(folder / "lamps.csv")
    (pair,) = read_pairs(folder / "lamps.csv", limit=10)
    assert pair.key == "lamps: b.jpg | a.jpg"


def test_written_pairs_are_read_as_they_were(own):
    folder = own()
    query = KnownImage(folder / "a.jpg", "007", mask=folder / "a_mask.png", box=(0.1, 1, 2, 3))
    match = KnownImage(folder / "b.jpg", "007")
    homography = np.array([[1, 0.1, -3], [0, 2, 1], [1e-7, 0, 1]], dtype=np.float32)
    pair = ImagePair(query, match, folder.name, homography, root=folder)
    second = replace(pair, query=match, match=KnownImage(folder / "c.jpg"), homography=None)
    assert write_pairs(folder, [pair, second]) == folder / "pairs.csv"
    found = {p.key: p for p in read_pairs(folder, limit=10)}
    assert set(found) == {pair.key, second.key}
    read = found[pair.key]
    assert vars(read.query) == vars(query)
    assert vars(read.match) == vars(match)
    np.testing.assert_array_equal(read.homography, homography)
    assert found[second.key].homography is None


def test_images_elsewhere_are_written_by_their_whole_path(own, tmp_path):
    folder = own()
    (folder / "table").mkdir()
    write_pairs(
        folder / "table", [ImagePair(KnownImage(folder / "a.jpg"), KnownImage(folder / "b.jpg"), "x")]
    )
    (pair,) = read_pairs(folder / "table", limit=1)
    assert (pair.query.path, pair.source) == (folder / "a.jpg", "table")


def test_a_folder_that_is_missing_can_not_be_written(tmp_path):
    with pytest.raises(DatasetError, match=r"pairs\.csv can't be written"):
        write_pairs(tmp_path / "absent", [])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["query,other", "a.jpg,b.jpg"], r"pairs\.csv has no column match \(it has query, other\)"),
        (["query,match", "a.jpg,b.jpg", "a.jpg,"], r"row 2 of .*pairs\.csv names no query or no match"),
        (["query,match", "a.jpg,b.jpg", "a.jpg,b.jpg"], r"rows 1 and 2 of .* are the same pair"),
        (["query,match", "a.jpg,d.jpg"], r"d\.jpg, listed in .*pairs\.csv, is missing"),
        (["query,match,match_mask", "a.jpg,b.jpg,m.png"], r"m\.png, listed in .*pairs\.csv, is missing"),
        (["query,match,query_box", "a.jpg,b.jpg,1 2 3"], r"row 1: query_box is not 4 numbers"),
        (["query,match,homography", "a.jpg,b.jpg,1 2 3"], r"row 1: homography is not 9 numbers"),
        (["query,match"], r"holds no two images that match, read in the layout 'pairs'"),
        (["query,match", "a.jpg,a.jpg"], r"holds no two images that match, read in the layout 'pairs'"),
    ],
)
def test_a_malformed_table_names_file_and_row(own, lines, message):
    with pytest.raises(DatasetError, match=message):
        read_pairs(own(*lines), limit=10)


def test_labels_stay_text(own):
    (pair,) = read_pairs(own("query,match,query_label,match_label", "a.jpg,b.jpg,007,007"), limit=1)
    assert pair.query.label == pair.match.label == "007"
