"""Measures on explanations made by hand, and the other images that take part in them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from lookalike.datasets.pairs import ImagePair, KnownImage
from lookalike.evaluation.explanations.cases import PairCase, Roster
from lookalike.evaluation.explanations.stability import sanity
from lookalike.evaluation.explanations.subjects import Subject, as_reading
from lookalike.evaluation.explanations.sums import sum_values
from lookalike.images import Preprocessing
from lookalike.types import Explanation, ImageMap


def image_map(values, *residual):
    reading = as_reading(np.zeros((40, 60, 3), np.uint8), "a.png")
    return ImageMap(reading.picture, reading.geometry, np.array(values, np.float32), residual)


def sums(similarity, query, match, *, additive=True):
    explanation = Explanation(similarity, query, match, "mine", additive=additive, model="m")
    return sum_values(SimpleNamespace(explanation=explanation, case=SimpleNamespace(similarity=similarity)))


def test_what_a_residual_names_is_not_missing_from_the_sum():
    """Of 0.5 the query's cells have 0.3 and CLS 0.15, so 0.05 is unnamed; the match's cells have all."""
    found = sums(0.5, image_map([[0.1, 0.2, 0.0]], ("CLS", 0.15)), image_map([[0.75], [-0.25]]))
    assert found == {
        "exactness": pytest.approx(0.025, abs=1e-7),
        "residual": pytest.approx(0.2, abs=1e-6),
        "residual-CLS": pytest.approx(0.15, abs=1e-6),
    }


def test_a_heat_map_has_no_sum():
    plain = image_map([[0.5]])
    assert sums(0.5, plain, plain, additive=False) == {"exactness": None, "residual": None}


def test_sanity_is_low_for_maps_that_stay_and_high_for_maps_that_turn_round():
    """With half of the weights shuffled the maps stay, with all of them their order is reversed: 0 and 2."""
    maps = torch.tensor([[0.0, 1.0, 5.0]]), torch.tensor([[3.0], [1.0]])
    case = SimpleNamespace(
        subject=SimpleNamespace(randomized=lambda *, whole, seed: -1 if whole else 1),
        roster=SimpleNamespace(seed=0),
        sides=[SimpleNamespace(reading=None)] * 2,
    )
    method = SimpleNamespace(bind=lambda sign: SimpleNamespace(explain=lambda *_: [sign * m for m in maps]))
    explained = SimpleNamespace(
        case=case, method=method, maps=maps, on_grids=tuple, bound=SimpleNamespace(uses_model=True)
    )
    assert sanity(explained) == pytest.approx((0 + 0 + 2 + 2) / 4)
    explained.bound.uses_model = False
    assert sanity(explained) is None


class Angles:
    """The brightness of a picture as an angle."""

    name = "angles"
    preprocessing = Preprocessing("squash", (14, 21), interpolation="bilinear")

    def embed(self, sources):
        angles = np.array([np.asarray(source)[0, 0, 0] for source in sources]) / 200
        return np.stack([np.cos(angles), np.sin(angles)], 1)


@pytest.fixture
def roster(tmp_path):
    """Three pairs: brightness of query and match, and their label."""

    def image(name, brightness, label):
        file = tmp_path / f"{name}.png"
        Image.new("RGB", (21, 14), (brightness,) * 3).save(file)
        return KnownImage(file, label)

    pairs = [
        ImagePair(image("q0", 0, "x"), image("m0", 80, "x"), "s"),
        ImagePair(image("q1", 83, "x"), image("m1", 10, "x"), "s"),
        ImagePair(image("q2", 200, "y"), image("m2", 90, "y"), "s"),
    ]
    return Roster(Subject(Angles()), pairs, seed=0)


def test_the_false_match_is_of_another_label_and_as_similar_as_the_true_one(roster):
    assert roster.false_match(0).path.name == "m2.png"  # 90 is nearer to 80 than 200; 83 has the label
    assert roster.false_match(2).path.name == "q1.png"  # 83 is as far from 200 as 90, nearly


def test_hidden_cells_show_the_next_query_of_another_label(roster):
    assert [roster.swapped_in(i).path.name for i in range(3)] == ["q2.png", "q2.png", "q0.png"]


def test_each_image_is_filled_by_what_is_its_own_and_both_by_the_other(roster):
    case = PairCase(roster, 0)
    for fill in ("mean", "blur"):
        assert [int(each.max()) for each in case.fills(fill)] == [0, 80]
    assert [int(each.min()) for each in case.fills("swap")] == [200, 200]


def test_a_run_of_one_label_has_no_false_match(roster):
    one = Roster(roster.subject, roster.pairs[:2], seed=0)
    assert one.false_match(0) is None and one.swapped_in(0).path.name == "m0.png"
