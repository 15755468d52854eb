import shutil

import pytest

from lookalike.datasets.pairs import PAIR_LAYOUTS, read_pairs
from lookalike.datasets.pairs.reading import pair_layout_of
from lookalike.errors import DatasetError, UnknownNameError


@pytest.mark.parametrize(
    ("files", "layout"),
    [
        (["pairs.csv", "images/a.jpg", "masks/a.png"], "pairs"),
        (["PairAnnotation/test/x.json"], "spair"),
        (["v_wall/H_1_2"], "hpatches"),
        (["H_1_2", "1.ppm"], "hpatches"),
        (["gnd_roxford5k.pkl", "jpg/a.jpg"], "revisited"),
        (["queries/a.jpg", "gallery/b.jpg", "masks/a.png"], "retrieval"),
        (["images/a.jpg", "annotations.json", "masks/a.png"], "annotations"),
        (["images.txt", "image_class_labels.txt", "images/a/a.jpg"], "cub"),
        (["images/a.jpg", "masks/a.png"], "masks"),
        (["toy/query/a.jpg", "toy/pos/b.jpg"], "ilias"),
        (["cat/a.jpg", "dog/b.jpg"], "labels"),
        (["query.txt", "gallery.txt"], "labels"),
    ],
)
def test_a_layout_is_recognized_by_its_files(tmp_path, files, layout):
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert pair_layout_of(tmp_path) == layout
    assert layout in PAIR_LAYOUTS


def test_a_file_of_an_unknown_kind_is_refused(tmp_path):
    (tmp_path / "x.txt").touch()
    with pytest.raises(DatasetError, match=r"x\.txt is neither a table .* nor ground truth"):
        read_pairs(tmp_path / "x.txt", limit=1)


def test_missing_data_is_an_error(tmp_path):
    with pytest.raises(DatasetError, match="there is no data at"):
        read_pairs(tmp_path / "absent", limit=1)


def test_an_unknown_layout_is_an_error(tmp_path):
    with pytest.raises(UnknownNameError, match=r"layout is one of auto, pairs.*did you mean 'masks'"):
        read_pairs(tmp_path, limit=1, layout="mask")


def test_a_limit_below_one_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="limit is a number of pairs, 1 or more; got 0"):
        read_pairs(tmp_path, limit=0)


def test_a_given_layout_is_read_whatever_the_files_say(tmp_path, picture):
    for name in ("images/a.jpg", "images/b.jpg", "masks/a.png"):
        picture(name)
    (pair,) = read_pairs(tmp_path, limit=1, layout="labels")
    assert pair.query.label == "images"


def test_the_draw_is_the_same_for_a_copy_of_the_data(tmp_path, picture):
    for label in "abc":
        for i in range(4):
            picture(f"here/data/{label}/{i}.jpg")
    shutil.copytree(tmp_path / "here/data", tmp_path / "there/data")
    here, there = ([p.key for p in read_pairs(tmp_path / f / "data", limit=7)] for f in ("here", "there"))
    assert here == there
