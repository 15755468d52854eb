import json
import pickle

import numpy as np
import pytest

from lookalike.datasets.pairs import mask_of, read_pairs
from lookalike.datasets.pairs.landmarks import read_landmark_pairs
from lookalike.errors import DatasetError


@pytest.fixture
def landmarks(tmp_path, picture):
    """Two queries and four gallery images: row 0 is easy for both, row 1 hard for the first, 2 is junk."""
    for name in ("q_a", "q_b", "g0", "g1", "g2", "g3"):
        picture(f"jpg/{name}.jpg")
    truth = {
        "imlist": ["g0", "g1", "g2", "g3"],
        "qimlist": ["q_a", "q_b"],
        "gnd": [
            {"easy": np.array([0]), "hard": np.array([1]), "junk": np.array([2]), "bbx": [1.5, 0, 6, 4]},
            {"easy": np.array([0]), "hard": np.array([], dtype=int), "junk": [], "bbx": [0, 0, 7, 5]},
        ],
    }
    (tmp_path / "gnd_tiny.pkl").write_bytes(pickle.dumps(truth))
    return tmp_path


def found(pairs):
    return {(p.query.path.stem, p.match.path.stem): p for p in pairs}


def test_queries_with_their_box_match_easy_and_hard_images(landmarks):
    pairs = found(read_pairs(landmarks, limit=10))
    assert set(pairs) == {("q_a", "g0"), ("q_a", "g1"), ("q_b", "g0")}
    assert pairs["q_a", "g1"].query.box == (1.5, 0, 6, 4)
    assert pairs["q_a", "g1"].match.mask is None
    assert {image.label for p in pairs.values() for image in (p.query, p.match)} == {"g0"}  # one landmark


def test_the_file_of_ground_truth_is_read_like_its_folder(landmarks):
    by_file = read_pairs(landmarks / "gnd_tiny.pkl", limit=10)
    assert {p.source for p in by_file} == {"tiny"}
    assert set(found(by_file)) == set(found(read_pairs(landmarks, limit=10)))


def test_matches_have_the_outlines_of_proxford(landmarks):
    (landmarks / "labels").mkdir()
    square = {"shapes": [{"points": [[1, 1], [3, 1], [3, 2], [1, 2]]}]}
    (landmarks / "labels/0_1.json").write_text(json.dumps(square))
    np.save(landmarks / "oxford_pair2labelpath.npy", {"0_1": "labels/0_1.json"}, allow_pickle=True)
    pairs = found(read_pairs(landmarks, limit=10))
    assert np.argwhere(mask_of(pairs["q_a", "g1"].match, (5, 7))).tolist() == [
        [y, x] for y in (1, 2) for x in (1, 2, 3)
    ]
    assert pairs["q_a", "g0"].match.mask is None


def test_outlines_that_are_not_a_dict_are_refused(landmarks):
    np.save(landmarks / "oxford_pair2labelpath.npy", np.array([1, 2]))
    with pytest.raises(DatasetError, match=r"pair2labelpath\.npy can't be read.*not one object"):
        read_pairs(landmarks, limit=10)


def test_outlines_that_would_run_code_are_refused(landmarks, tmp_path):
    class Harm:
        def __reduce__(self):
            return (print, ("harm",))

    np.save(landmarks / "oxford_pair2labelpath.npy", {"0_1": Harm()}, allow_pickle=True)
    with pytest.raises(DatasetError, match=r"holds Python objects .*print"):
        read_pairs(landmarks, limit=10)


def test_two_files_of_ground_truth_in_one_folder_are_refused(landmarks):
    (landmarks / "gnd_other.pkl").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"holds 2 files of ground truth.*give one of them"):
        read_pairs(landmarks, limit=10)


def test_ground_truth_without_names_is_refused(tmp_path):
    (tmp_path / "gnd_x.json").write_text(json.dumps([{"easy": [0], "hard": [], "junk": []}]))
    with pytest.raises(DatasetError, match=r"gnd_x\.json does not name its images"):
        read_pairs(tmp_path, limit=10)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_every_positive_of_the_published_truth_becomes_a_candidate(shared, tmp_path, name):
    file = shared / f"data/revisitop/gnd_{name}.pkl"
    truth = pickle.loads(file.read_bytes())
    rows = sorted({int(row) for gnd in truth["gnd"] for row in (*gnd["easy"], *gnd["hard"])})
    for stem in (*truth["qimlist"], *(truth["imlist"][row] for row in rows)):
        (tmp_path / f"{stem}.jpg").touch()
    (tmp_path / file.name).write_bytes(file.read_bytes())
    candidates = read_landmark_pairs(tmp_path)
    assert sum(map(len, candidates.matches.values())) == sum(
        len(gnd["easy"]) + len(gnd["hard"]) for gnd in truth["gnd"]
    )
    pairs = read_pairs(tmp_path, limit=70)
    assert len({p.query.path for p in pairs}) == 70
    pair = pairs[0]
    position = truth["qimlist"].index(pair.query.path.stem)
    assert pair.query.box == pytest.approx(truth["gnd"][position]["bbx"])
