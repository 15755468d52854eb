import json
import pickle

import numpy as np
import pytest
from PIL import Image

from lookalike.datasets.revisited import find_images, read_truth
from lookalike.errors import DatasetError

QUERY = {"easy": [0], "hard": [2], "junk": [1], "bbx": [1.5, 2, 30, 40]}
WHOLE = {"imlist": ["a", "b", "c"], "qimlist": ["q"], "gnd": [QUERY]}


def written(tmp_path, content):
    path = tmp_path / "gnd_tiny.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def test_a_published_file_is_read_whole(tmp_path):
    truth = read_truth(written(tmp_path, WHOLE))
    assert (truth.name, len(truth), truth.n_images) == ("tiny", 1, 3)
    assert (truth.images, truth.queries, truth.boxes) == (("a", "b", "c"), ("q",), ((1.5, 2.0, 30.0, 40.0),))
    assert (truth.easy, truth.hard, truth.junk) == (((0,),), ((2,),), ((1,),))
    assert len(truth.sha256) == 64


def test_lists_may_be_arrays_the_queries_alone_and_json(tmp_path):
    arrays = [{key: np.array(rows) for key, rows in QUERY.items()}] * 2
    assert read_truth(written(tmp_path, arrays)).easy == ((0,), (0,))
    bare = [{"easy": [], "hard": [5], "junk": []}]
    (tmp_path / "bare.json").write_text(json.dumps(bare))
    truth = read_truth(tmp_path / "bare.json")
    assert (truth.easy, truth.hard, truth.boxes, truth.n_images) == (((),), ((5,),), (None,), 6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"easy": [3]}, r"query 0 lists images 1 to 3, but the gallery has 3"),
        ({"easy": [-1]}, r"lists images -1 to 2"),
        ({"easy": [1]}, r"query 0 lists image 1 more than once among easy, hard, junk"),
        ({"easy": ["x"]}, r"'easy' of query 0 is no list of gallery rows"),
        ({"easy": [0.5]}, r"'easy' of query 0 is no list of gallery rows"),
        ({"bbx": [1, 2, 3]}, r"'bbx' of query 0 is not left, top, right, bottom"),
        ({"bbx": [5, 2, 3, 4]}, r"'bbx' of query 0 is empty"),
    ],
)
def test_ground_truth_that_contradicts_itself_is_refused(tmp_path, change, message):
    with pytest.raises(DatasetError, match=message):
        read_truth(written(tmp_path, {**WHOLE, "gnd": [{**QUERY, **change}]}))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([], "holds no list 'gnd'"),
        ({"imlist": []}, "holds no list 'gnd'"),
        (7, "holds no list 'gnd'"),
        ([{"easy": [], "junk": []}], "query 0 has no list 'hard'; it has easy, junk"),
        ({**WHOLE, "qimlist": ["q", "r"]}, "names 2 queries and has ground truth of 1"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path, content, message):
    with pytest.raises(DatasetError, match=message):
        read_truth(written(tmp_path, content))


@pytest.mark.parametrize(("text", "message"), [(None, "can't be read: No such file"), ("{", "is not JSON")])
def test_a_missing_or_broken_json_is_named(tmp_path, text, message):
    path = tmp_path / "gnd.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DatasetError, match=message):
        read_truth(path)


@pytest.fixture
def folder(tmp_path):
    for name in ("jpg/a.jpg", "jpg/b.v2.jpg", "more/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (3, 2)).save(tmp_path / name)
    return tmp_path


def test_images_are_found_below_the_folder_with_or_without_ending(folder):
    found = find_images(["c", "a", "b.v2", "a.jpg"], folder)
    assert [path.name for path in found] == ["c.png", "a.jpg", "b.v2.jpg", "a.jpg"]


def test_missing_and_ambiguous_images_are_named(folder):
    with pytest.raises(DatasetError, match=r"1 of 2 images are not in .*, e\.g\. z;"):
        find_images(["a", "z"], folder)
    Image.new("RGB", (3, 2)).save(folder / "more" / "a.png")
    with pytest.raises(DatasetError, match=r"a may be .* or .*; keep one"):
        find_images(["a"], folder)
    with pytest.raises(DatasetError, match="give the folder that holds"):
        find_images(["a"], folder / "none")


@pytest.mark.weights
@pytest.mark.parametrize(
    ("name", "n_images", "without_easy"), [("roxford5k", 4993, 2), ("rparis6k", 6322, 0)]
)
def test_the_published_ground_truth_has_its_known_sizes(shared, name, n_images, without_easy):
    truth = read_truth(shared / "data" / "revisitop" / f"gnd_{name}.pkl")
    assert (truth.name, len(truth), truth.n_images, len(truth.images)) == (name, 70, n_images, n_images)
    assert sum(not rows for rows in truth.easy) == without_easy
    assert all(box is not None for box in truth.boxes)
