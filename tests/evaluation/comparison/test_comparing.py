"""Two models side by side: metrics by hand, maps that must agree, cases that must be found."""

import dataclasses

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lookalike import images
from lookalike.datasets import read_dataset
from lookalike.errors import DatasetError
from lookalike.evaluation import embed_images, labeled
from lookalike.evaluation.comparison import ComparisonSettings, compare
from lookalike.evaluation.comparison.explaining import map_agreement, on_common_grid
from lookalike.evaluation.comparison.hiding import faithfulness, hidden_series
from lookalike.explainers import make_explainer
from lookalike.reports.comparison import comparison_report, verdict
from lookalike.types import Geometry
from made_classes import class_folders, tiny_cnn, tiny_vit


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return read_dataset(class_folders(tmp_path_factory.mktemp("classes") / "data"))


@pytest.fixture(scope="module")
def embedders():
    return tiny_cnn(), tiny_vit()


@pytest.fixture(scope="module")
def compared(dataset, embedders):
    sides = [embed_images(embedder, dataset, source="made up") for embedder in embedders]
    return compare(
        *sides, embedders=embedders, settings=ComparisonSettings(n_pairs=4, n_cases=1, n_resamples=200)
    )


def arrays(first, second, labels="aabb"):
    return [labeled(torch.tensor(v), list(labels), source=s) for v, s in ((first, "A"), (second, "B"))]


RIGHT = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]  # a's beside each other, b's beside each other
WRONG = [[1.0, 0.0], [0.0, 1.0], [1.0, 0.1], [0.1, 1.0]]  # each a beside a b


def test_a_model_that_is_right_beats_one_that_is_wrong():
    found = compare(*arrays(RIGHT, WRONG), settings=ComparisonSettings(ks=(1, 3)))
    recall = found.metrics[0]
    assert (recall.first, recall.second, recall.difference, recall.low, recall.high) == (1, 0, -1, -1, -1)
    assert recall.p_value == pytest.approx(2 / 16, abs=0.01)  # 2 of the 16 sign patterns are as extreme
    assert dataclasses.astuple(found.outcomes) == (0, 4, 0, 0)
    assert found.metrics[1].difference == 0 and found.metrics[1].p_value == 1
    assert "is not significant" in verdict(found)  # four queries prove nothing


def test_a_model_agrees_with_itself():
    found = compare(*arrays(RIGHT, RIGHT))
    assert all(each.difference == each.low == each.high == 0 and each.p_value == 1 for each in found.metrics)
    assert dict(found.lists.jaccard)[1] == 1 and found.lists.rank_biased_overlap == pytest.approx(1)
    assert found.maps == () and found.n_pairs == 0


def test_first_hits_that_differ_share_nothing_at_one():
    found = compare(*arrays(RIGHT, WRONG))
    assert dict(found.lists.jaccard)[1] == 0
    assert 0 < found.lists.rank_biased_overlap < 1  # all three others come in the end


@pytest.mark.parametrize(
    ("second", "labels", "words"),
    [
        (RIGHT[:3], "aab", "A has 4 images and B 3"),
        (RIGHT, "aaab", "row 2 has the label 'b' in A and 'a' in B"),
    ],
)
def test_different_images_are_refused(second, labels, words):
    first = arrays(RIGHT, RIGHT)[0]
    with pytest.raises(DatasetError, match=words):
        compare(first, labeled(torch.tensor(second), list(labels), source="B"))


def test_different_files_are_refused(dataset):
    values, labels = torch.eye(12), dataset.labels
    paths = [dataset.paths[1], dataset.paths[0], *dataset.paths[2:]]
    first = labeled(values, labels, source="A", paths=dataset.paths)
    with pytest.raises(DatasetError, match="row 0 has the file"):
        compare(first, labeled(values, labels, source="B", paths=paths))


def test_both_kinds_of_network_are_explained_by_what_fits_them(compared):
    found = compared
    ways = {(each.model, each.method) for each in found.faithfulness}
    assert ways == {("resnet10t", "shares"), ("vit_tiny_patch16_224", "shares"),
                    ("vit_tiny_patch16_224", "rollout")}  # fmt: skip
    assert len(found.maps) == 3 and found.n_pairs == 4
    assert all(-1 <= each.correlation <= 1 and 0 <= each.shared_mass <= 1 for each in found.maps)


def test_cases_are_what_the_outcomes_count(compared):
    found, cases = compared, compared.cases
    assert found.outcomes.only_first + found.outcomes.only_second > 0
    for case in cases:
        assert case.match.label == case.label != case.mistaken.label
        assert case.rank_of_other > 1
        assert [each.method for each in case.match.second] == ["shares", "rollout"]
        preferred, other = (case.match, case.mistaken)
        side = "first" if case.right == found.first else "second"
        assert getattr(preferred, side)[0].similarity >= getattr(other, side)[0].similarity - 1e-5


def test_the_report_is_one_file_with_both_models(compared):
    html = comparison_report(compared)
    found = compared
    assert "http:" not in html and "https:" not in html and 'src="data:image/webp' in html
    for words in (found.first, found.second, "rollout", "MAP@R", "rank-biased overlap", *found.rules[:1]):
        assert words in html
    n_ways = 3
    assert html.count("<img") == len(compared.cases) * 4 * (1 + n_ways)


def test_models_of_one_name_are_told_apart():
    sides = [dataclasses.replace(side, model="mini") for side in arrays(RIGHT, WRONG)]
    found = compare(*sides)
    assert (found.first, found.second) == ("mini (1)", "mini (2)")


# --- maps ---------------------------------------------------------------------------------------


def test_maps_meet_on_the_coarser_grid_over_what_both_saw():
    """The first saw the whole image of 80 x 120 pixels, the second its middle 40 x 60."""
    whole, middle = (
        Geometry((80, 120), (64, 96), (0, 0, 80, 120)),
        Geometry((80, 120), (32, 32), (20, 30, 40, 60)),
    )
    fine = np.arange(24, dtype=np.float32).reshape(4, 6)
    coarse = np.array([[1, 2, 3]], np.float32)
    a, b = on_common_grid(fine, whole, coarse, middle)
    assert a.shape == b.shape == (1, 3)
    # Rows 1 and 2, and columns 1.5 to 4.5 in thirds of one column each.
    expected = [(fine[1:3, i].sum() + fine[1:3, i + 1].sum()) / 2 for i in (1, 2, 3)]
    np.testing.assert_allclose(a[0], expected, rtol=1e-6)
    torch.testing.assert_close(b, torch.from_numpy(coarse))


def test_a_way_of_explaining_agrees_with_itself_and_less_with_other_pairs(dataset, embedders):
    explainer = make_explainer(embedders[1], "shares")
    found = [explainer(dataset.paths[i], dataset.paths[i + 1]) for i in (0, 4, 8)]
    agreement = map_agreement(found, found, names=("a", "b"))
    assert agreement.correlation == pytest.approx(1) and agreement.shared_mass == pytest.approx(1)
    assert agreement.correlation_by_chance < 0.9 and agreement.shared_mass_by_chance < 1
    with pytest.raises(ValueError, match="two pairs or more"):
        map_agreement(found[:1], found[:1], names=("a", "b"))


def test_cells_are_hidden_in_order_and_in_the_mean_color():
    pixels = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    one, two, three = hidden_series(pixels, [5, 0, 1, 2, 3, 4], (2, 3), 3)  # two cells a step
    changed = (one != pixels).any(-1)
    expected = np.zeros((4, 6), bool)
    expected[2:, 4:] = expected[:2, :2] = True
    np.testing.assert_array_equal(changed, expected)
    np.testing.assert_array_equal(one[changed][0], pixels.reshape(-1, 3).mean(0).round())
    assert (two[:2, 2:] != pixels[:2, 2:]).any(-1).all() and (three == three[0, 0]).all()


class LeftHalf:
    """An embedding that knows the spread of colors in the left half of a picture, and nothing else."""

    name = "left half"

    def __init__(self, preprocessing):
        self.preprocessing = preprocessing

    def embed(self, sources, *, batch_size=32):
        pixels = [images.read(source, self.preprocessing).pixels for source in sources]
        spreads = [float(array[:, : array.shape[1] // 2].std((0, 1)).mean()) for array in pixels]
        return F.normalize(torch.tensor([[spread, 3.0] for spread in spreads]), dim=1)


def test_a_map_of_the_truth_gains_and_its_opposite_loses(dataset, embedders):
    """Only hiding the left half changes the embedding."""
    pair = (dataset.paths[0], dataset.paths[1])
    explanation = make_explainer(embedders[0], "shares")(*pair)
    left = np.zeros((4, 6), np.float32)
    left[:, :3] = 1
    truth, lie = (
        dataclasses.replace(explanation, query=dataclasses.replace(explanation.query, values=values))
        for values in (left, -left)
    )
    model = LeftHalf(embedders[0].preprocessing)
    gains = [faithfulness(model, [each], [pair], model="left") for each in (truth, lie)]
    assert gains[0].mean_drop > 0.3  # all is lost when the left half is
    assert gains[0].gain > 0.3 * gains[0].mean_drop
    assert gains[1].gain == pytest.approx(-gains[0].gain, rel=0.2)  # equal cells are hidden by number
