import pickle

import numpy as np
import pytest

from lookalike.datasets.whitening_pairs import read_whitening_pairs
from lookalike.errors import DatasetError


def test_the_published_pickle_names_images_by_hash(tmp_path):
    names = ["00aa11bb22", "99ffeeddcc"]
    for name in names:
        folder = tmp_path / "ims" / name[-2:] / name[-4:-2] / name[-6:-4]
        folder.mkdir(parents=True)
        (folder / name).touch()
    content = {"cids": names, "qidxs": [0, 1], "pidxs": np.array([1, 0])}
    (tmp_path / "set-whiten.pkl").write_bytes(pickle.dumps(content))
    pairs = read_whitening_pairs(tmp_path / "set-whiten.pkl", tmp_path / "ims")
    assert (pairs.name, pairs.queries, pairs.positives) == ("set", (0, 1), (1, 0))
    assert pairs.images[0] == tmp_path / "ims" / "22" / "bb" / "11" / names[0]
    with pytest.raises(DatasetError, match="give the folder"):
        read_whitening_pairs(tmp_path / "set-whiten.pkl")


@pytest.mark.parametrize(("content", "said"), [
    ([1], "should hold cids"), ({"cids": ["abcdefg"], "qidxs": [0], "pidxs": [1]}, "0 to 0"),
    ({"cids": ["abcdefg"], "qidxs": [0], "pidxs": []}, "pairs 1 queries with 0"),
    ({"cids": ["abc"], "qidxs": [0], "pidxs": [0]}, "six letters"),
    ({"cids": ["abcdefg"], "qidxs": [0], "pidxs": [0]}, "1 of 1 images"),
    ({"cids": ["abcdefg"], "qidxs": [0.5], "pidxs": [0]}, "list of positions"),
])  # fmt: skip
def test_a_pickle_of_another_kind_ends_in_one_sentence(content, said, tmp_path):
    (tmp_path / "set-whiten.pkl").write_bytes(pickle.dumps(content))
    with pytest.raises(DatasetError, match=said):
        read_whitening_pairs(tmp_path / "set-whiten.pkl", tmp_path)


@pytest.mark.parametrize(("table", "said"), [
    ("query,other\na.png,b.png\n", "name those of the pairs"), ("query,match\na.png,\n", "in every row"),
    ("query,match\na.png,b.png\n", "2 of 2 images"),
])  # fmt: skip
def test_a_table_that_lacks_something_says_so(table, said, tmp_path):
    (tmp_path / "pairs.csv").write_text(table)
    with pytest.raises(DatasetError, match=said):
        read_whitening_pairs(tmp_path / "pairs.csv")
