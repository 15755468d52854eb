"""The fixed split of pairs into a half to choose on and one to confirm on."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn import functional as F

from lookalike.datasets.pairs import ImagePair, KnownImage
from lookalike.errors import DatasetError, UnknownNameError
from lookalike.evaluation.explanations import MEASURES, MapMethod, evaluate_explanations, half_of
from lookalike.evaluation.explanations.halves import ranks_in_halves
from lookalike.evaluation.explanations.methods import BoundMethod, make_method
from lookalike.evaluation.explanations.subjects import Subject
from lookalike.images import Preprocessing

CHOOSING, CONFIRMING = ("2a.png", "3a.png", "4a.png"), ("0a.png", "1a.png", "5a.png")


def pair(query, match="other.jpg", homography=None):
    return ImagePair(KnownImage(Path(query)), KnownImage(Path(match)), "set", homography=homography)


def test_a_pair_is_in_the_half_of_the_hash_of_its_querys_name():
    for name in (*CHOOSING, *CONFIRMING):
        is_odd = int(hashlib.sha256(name.encode()).hexdigest(), 16) % 2
        assert half_of(pair(name)) == ("confirm" if is_odd else "choose")
    assert [half_of(pair(name)) for name in CHOOSING] == ["choose"] * 3
    assert [half_of(pair(name)) for name in CONFIRMING] == ["confirm"] * 3


def test_neither_folder_nor_match_move_a_pair():
    assert half_of(pair("2a.png")) == half_of(pair("some/where/2a.png", "0a.png")) == "choose"


def test_pairs_under_a_homography_are_split_by_their_match():
    """All pairs of a sequence have one query."""
    assert half_of(pair("0a.png", "2a.png", np.eye(3))) == "choose"
    assert half_of(pair("2a.png", "0a.png", np.eye(3))) == "confirm"


def test_the_halves_are_about_equal():
    n_choosing = sum(half_of(pair(f"{i}.jpg")) == "choose" for i in range(2000))
    assert 900 < n_choosing < 1100  # within 4.5 standard deviations


def test_ranks_count_within_each_half():
    assert ranks_in_halves([pair(f"{i}a.png") for i in range(6)]) == [0, 1, 0, 1, 2, 2]


# --- rows of a half -------------------------------------------------------------------------------


class Pixels:
    """Embeds the pixels themselves."""

    name = "pixels"
    preprocessing = Preprocessing("squash", (24, 32), interpolation="bilinear")

    def embed(self, sources):
        values = np.stack([np.asarray(source, np.float32) for source in sources])
        return F.normalize(torch.from_numpy(values).flatten(1) - 100, dim=1)


def brightness(query, match):
    return [np.asarray(picture.convert("L"), float) for picture in (query, match)]


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(0)
    found = []
    for i in range(6):
        shared = rng.integers(0, 200, (24, 32, 3))
        for side in "ab":
            pixels = shared + rng.integers(0, 56, (24, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}{side}.png")
        files = (KnownImage(folder / f"{i}{side}.png", f"label {i}") for side in "ab")
        found.append(ImagePair(*files, "pixels", root=folder))
    return found


def judged(pairs, methods=(brightness, "random"), measures=("aid-mean", "aid-swap"), **options):
    return evaluate_explanations(pairs, [Pixels()], methods, measures=measures, **options)


def test_the_whole_is_the_mean_of_both_halves(pairs):
    whole, first, second = judged(pairs), judged(pairs, half="choose"), judged(pairs, half="confirm")
    for measure in ("aid-mean", "aid-swap"):
        rows = [scores.row("pixels", "brightness", measure) for scores in (whole, first, second)]
        assert [row.pairs for row in rows] == [6, 3, 3]
        assert rows[0].value == pytest.approx((rows[1].value + rows[2].value) / 2)
        assert rows[1].value != rows[2].value
    assert [scores.settings["n_pairs"] for scores in (whole, first, second)] == [6, 3, 3]


def test_examples_of_a_half_are_its_own(pairs):
    keys = {half: {each.key for each in judged(pairs, half=half).examples} for half in ("choose", "confirm")}
    assert len(keys["choose"]) == len(keys["confirm"]) == 3 and not keys["choose"] & keys["confirm"]
    assert all(any(name in key for name in CHOOSING) for key in keys["choose"])


def test_both_halves_come_from_one_run(pairs, tmp_path):
    judged(pairs, half="choose", run=tmp_path)
    half_done = judged(pairs, recorded_only=True, run=tmp_path)
    assert {row.pairs for row in half_done.rows} == {3}
    judged(pairs, half="confirm", run=tmp_path)
    assert judged(pairs, recorded_only=True, run=tmp_path).to_dict() == judged(pairs).to_dict()


def test_what_was_not_recorded_has_no_rows(pairs, tmp_path):
    assert judged(pairs, recorded_only=True, run=tmp_path).rows == ()
    assert not (tmp_path / "scores.jsonl").exists()


def test_a_half_without_pairs_is_refused(pairs):
    with pytest.raises(DatasetError, match="none of the 2 pairs is in the half 'choose'; take more"):
        judged(pairs[:2], half="choose")
    assert judged(pairs[:2], half="choose", recorded_only=True).rows == ()


def test_another_word_than_the_two_is_an_error(pairs):
    with pytest.raises(UnknownNameError, match="half is one of choose, confirm; got 'chose'"):
        judged(pairs, half="chose")


def test_measures_of_few_pairs_take_the_first_of_each_half_and_one_of_a_slow_method(pairs):
    assert MEASURES["cost-pair-ms"].first == 2
    quick = make_method(brightness)
    slow = MapMethod("slow", "slow", lambda subject: BoundMethod(quick.bind(subject).explain, is_slow=True))
    measures = ["cost-pair-ms", "aid-mean"]
    for half, factor in ((None, 2), ("choose", 1), ("confirm", 1)):
        rows = {
            (row.method, row.measure): row.pairs
            for row in judged(pairs, [quick, slow], measures, half=half).rows
        }
        assert rows["brightness", "cost-pair-ms"] == 2 * factor and rows["slow", "cost-pair-ms"] == factor
        assert rows["brightness", "aid-mean"] == rows["slow", "aid-mean"] == 3 * factor


@pytest.mark.parametrize("name", ["occlusion:cells=2", "leave-one-out", "rise"])
def test_methods_that_try_many_pictures_are_slow(pairs, name):
    assert make_method(name).bind(Subject(Pixels())).is_slow
    assert not make_method("center").bind(Subject(Pixels())).is_slow
