import json

import pytest

from lookalike.datasets.pairs import read_pairs
from lookalike.errors import DatasetError


@pytest.fixture
def ilias(tmp_path, picture):
    """Two objects of one query each, and one and two positives; the last image has two boxes."""
    for name in ("toy_000/query/Q000_00", "toy_000/pos/P000_00", "cup_001/query/Q001_00",
                 "cup_001/pos/P001_00", "cup_001/pos/P001_01"):  # fmt: skip
        picture(f"{name}.jpg")
        (tmp_path / f"{name}_bbox.txt").write_text("1 2 3 2\n")
    (tmp_path / "cup_001/pos/P001_01_bbox.txt").write_text("1 2 3 2\n4 0 2 1\n")
    (tmp_path / "toy_000/query/T000.txt").write_text("a toy")
    return tmp_path


def test_queries_match_the_positives_of_their_object_with_boxes_around_all(ilias):
    pairs = read_pairs(ilias, limit=10)
    found = {(p.query.path.stem, p.match.path.stem): (p.query.box, p.match.box) for p in pairs}
    assert found == {
        ("Q000_00", "P000_00"): ((1, 2, 4, 4), (1, 2, 4, 4)),
        ("Q001_00", "P001_00"): ((1, 2, 4, 4), (1, 2, 4, 4)),
        ("Q001_00", "P001_01"): ((1, 2, 4, 4), (1, 0, 6, 4)),
    }
    assert {p.query.label for p in pairs} == {p.match.label for p in pairs} == {"toy_000", "cup_001"}


def test_boxes_of_the_shards_are_read_as_well(ilias):
    (ilias / "toy_000/query/Q000_00_bbox.txt").unlink()
    (ilias / "toy_000/query/Q000_00.bbox.json").write_text(json.dumps([[0, 1, 2, 3]]))
    boxes = {p.query.path.stem: p.query.box for p in read_pairs(ilias, limit=10)}
    assert boxes["Q000_00"] == (0, 1, 2, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 x 2", r"P000_00_bbox\.txt: box 1 is not 4 numbers"),
        ("1 2 3 2\n1 2 0 2", r"P000_00_bbox\.txt: box 2 is empty"),
        ("1 2 3", r"line 1 of .*P000_00_bbox\.txt has 3 fields instead of 4"),
        ("\n", r"P000_00_bbox\.txt lists no boxes"),
    ],
)
def test_malformed_boxes_name_file_and_line(ilias, text, message):
    (ilias / "toy_000/pos/P000_00_bbox.txt").write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_pairs(ilias, limit=10)


def test_an_image_without_boxes_is_named(ilias):
    (ilias / "toy_000/pos/P000_00_bbox.txt").unlink()
    with pytest.raises(DatasetError, match=r"P000_00\.jpg has no boxes"):
        read_pairs(ilias, limit=10)
