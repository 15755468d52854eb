import json

import pytest

from lookalike.datasets.pairs import read_pairs
from lookalike.errors import DatasetError


def annotation(**changes):
    return {
        "src_imname": "2008_1.jpg", "trg_imname": "2008_2.jpg", "category": "cat", "mirror": 0,
        "src_bndbox": [1, 1, 6, 4], "trg_bndbox": [0, 2, 3, 5], "src_imsize": [7, 5, 3],
        "src_kps": [[2, 3], [4, 1]], "trg_kps": [[1, 2], [2, 4]], "kps_ids": ["0", "11"],
    } | changes  # fmt: skip


@pytest.fixture
def spair(tmp_path, picture):
    """Writes one pair of a split: spair(split, file name, changes)."""

    def write(split="test", name="000001-2008_1-2008_2:cat.json", **changes):
        for stem in ("2008_1", "2008_2"):
            picture(f"JPEGImages/cat/{stem}.jpg")
        file = tmp_path / "PairAnnotation" / split / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(annotation(**changes)))
        return tmp_path

    return write


def test_a_pair_has_the_boxes_and_the_keypoints_that_both_images_show(spair):
    (pair,) = read_pairs(spair(), limit=5)
    assert pair.query.path.parts[-3:] == ("JPEGImages", "cat", "2008_1.jpg")
    assert (pair.query.box, pair.match.box) == ((1, 1, 6, 4), (0, 2, 3, 5))
    assert pair.query.parts == {"0": (2, 3), "11": (4, 1)}
    assert pair.match.parts == {"0": (1, 2), "11": (2, 4)}
    assert pair.query.label == pair.match.label == "cat"


def test_names_without_a_colon_are_read_as_well(spair):
    (pair,) = read_pairs(spair(name="000001-2008_1-2008_2_cat.json"), limit=5)
    assert pair.match.path.name == "2008_2.jpg"


def test_pairs_of_the_test_split_are_preferred(spair):
    spair(split="trn", src_bndbox=[2, 2, 3, 3])
    (pair,) = read_pairs(spair(split="test"), limit=5)
    assert pair.query.box == (1, 1, 6, 4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"src_bndbox": [6, 1, 1, 4]}, r"src_bndbox is empty: left 6, top 1, right 1"),
        ({"trg_bndbox": None}, r"trg_bndbox is not 4 numbers"),
        ({"kps_ids": ["0"]}, r"src_kps and kps_ids are not two lists of one length"),
        ({"trg_kps": [[1, 2], [3]]}, r"a point of trg_kps is not 2 numbers"),
        ({"trg_imname": "2009_9.jpg"}, r"2009_9\.jpg, listed in .* is missing"),
    ],
)
def test_a_malformed_pair_names_file_and_entry(spair, changes, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_pairs(spair(**changes), limit=5)
    assert "000001-2008_1-2008_2:cat.json" in str(caught.value)


def test_an_annotation_without_a_field_is_refused(spair):
    folder = spair()
    file = next((folder / "PairAnnotation/test").iterdir())
    file.write_text(json.dumps({"category": "cat"}))
    with pytest.raises(DatasetError, match="has no src_imname, src_bndbox, src_kps, kps_ids"):
        read_pairs(folder, limit=5)


def test_a_file_of_another_name_is_refused(spair):
    with pytest.raises(DatasetError, match=r"other\.json is not named as N-IMAGE-IMAGE:CATEGORY\.json"):
        read_pairs(spair(name="other.json"), limit=5)
