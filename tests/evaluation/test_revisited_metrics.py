import json

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike.datasets.revisited import RevisitedTruth, read_truth
from lookalike.errors import DatasetError
from lookalike.evaluation.revisited import DIFFICULTIES, KS, metrics_of_ranks, metrics_of_scores


@pytest.fixture(scope="module")
def golden(goldens):
    with np.load(goldens / "revisited.npz") as archive:
        return dict(archive)


def truth_of(entries, images=()):
    lists = {grade: tuple(tuple(e[grade]) for e in entries) for grade in ("easy", "hard", "junk")}
    return RevisitedTruth("made", "0" * 64, tuple(images), (), (None,) * len(entries), **lists)


@pytest.mark.parametrize("difficulty", DIFFICULTIES)
def test_metrics_are_those_of_the_original_code(golden, difficulty):
    truth = truth_of(json.loads(str(golden["gnd"])))
    metrics = metrics_of_ranks(truth, torch.from_numpy(golden["ranks"])).by_difficulty[difficulty]
    expected = {key: golden[f"eval/{difficulty}/{key}"] for key in ("mAP", "ap", "mP_at_1_5_10")}
    assert metrics.revisited_map == pytest.approx(float(expected["mAP"]), abs=1e-12)
    assert list(metrics.mean_precision) == pytest.approx(expected["mP_at_1_5_10"].tolist(), abs=1e-12)
    ap = np.where(np.isinf(expected["ap"]), np.nan, expected["ap"])  # the original marks "none" by infinity
    np.testing.assert_allclose(metrics.average_precision.numpy(), ap, rtol=0, atol=1e-12)


def test_a_query_without_hard_positives_counts_in_no_hard_mean(golden):
    truth = truth_of(json.loads(str(golden["gnd"])))
    metrics = metrics_of_ranks(truth, torch.from_numpy(golden["ranks"])).by_difficulty
    assert metrics["hard"].is_counted.tolist() == [True, False, True, True]
    assert metrics["easy"].is_counted.all() and metrics["medium"].is_counted.all()


def walk(ranking, positives, junk):
    """Average precision and P@1, 5, 10 by the definition, one ranked image after the other."""
    if not positives:
        return [np.nan] * 4
    hits, place, area = [], 0, 0.0
    for image in ranking:
        if image in junk:
            continue
        if image in positives:
            before = 1.0 if place == 0 else len(hits) / place
            hits.append(place + 1)
            area += (before + len(hits) / (place + 1)) / 2 / len(positives)
        place += 1
    return [area] + [sum(hit <= min(k, hits[-1]) for hit in hits) / min(k, hits[-1]) for k in KS]


def published(shared, name):
    return read_truth(shared / "data" / "revisitop" / f"gnd_{name}.pkl")


@pytest.mark.weights
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_perfect_ranks_of_the_true_ground_truth_have_full_marks(shared, name):
    truth = published(shared, name)
    ranks = []
    for lists in zip(truth.easy, truth.hard, truth.junk, strict=True):
        first = [*lists[0], *lists[2], *lists[1]]  # junk between the positives must not count
        ranks.append(first + sorted(set(range(truth.n_images)) - set(first)))
    metrics = metrics_of_ranks(truth, torch.tensor(ranks).T)
    for difficulty, each in metrics.by_difficulty.items():
        assert (difficulty, each.revisited_map, *each.mean_precision) == (difficulty, 1.0, 1.0, 1.0, 1.0)


@pytest.mark.weights
@pytest.mark.parametrize("name", ["roxford5k", "rparis6k"])
def test_random_ranks_of_the_true_ground_truth_walk_by_walk(shared, name):
    truth, generator = published(shared, name), torch.Generator().manual_seed(7)
    columns = [torch.randperm(truth.n_images, generator=generator) for _ in range(len(truth))]
    metrics = metrics_of_ranks(truth, torch.stack(columns, dim=1))
    rows = {"easy": truth.easy, "hard": truth.hard, "junk": truth.junk}
    for difficulty, (positives, junk) in DIFFICULTIES.items():
        expected = [
            walk(
                column.tolist(),
                *({row for kind in kinds for row in rows[kind][q]} for kinds in (positives, junk)),
            )
            for q, column in enumerate(columns)
        ]
        each = metrics.by_difficulty[difficulty]
        found = torch.cat([each.average_precision[:, None], each.precision], dim=1)
        assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-12, equal_nan=True)


ENTRIES = [{"easy": [0, 7], "hard": [3], "junk": [5]}, {"easy": [2], "hard": [], "junk": [1, 9]}]


@pytest.mark.parametrize("block", [3, 100])
def test_streamed_scores_and_distractors_give_the_metrics_of_sorted_ranks(noise, block):
    truth = truth_of(ENTRIES, images=map(str, range(11)))
    scores = torch.cat([noise(2, 11), noise(2, 500, seed=1) + 0.5], dim=1).round(decimals=1)  # with ties
    gallery, distractors = scores[:, :11], scores[:, 11:]
    found = metrics_of_scores(
        truth, lambda: gallery.split(block, dim=1), distractors.split(block, dim=1), n_best=6
    )
    ranks = scores.argsort(dim=1, descending=True, stable=True).T
    expected = metrics_of_ranks(truth, ranks, n_distractors=500, n_best=6)
    assert found.n_gallery == expected.n_gallery == 511
    assert_close(found.best, expected.best)
    for difficulty in DIFFICULTIES:
        one, other = (metrics.by_difficulty[difficulty] for metrics in (found, expected))
        assert_close(one.positions, other.positions)
        assert_close(one.average_precision, other.average_precision, equal_nan=True)


def test_an_image_meets_its_own_score_even_if_it_is_computed_differently_again():
    truth = truth_of([{"easy": [1], "hard": [], "junk": []}], images="abc")
    versions = iter([torch.tensor([[0.1, 0.5, 0.2]]), torch.tensor([[0.1, 0.5 + 1e-6, 0.2]])])
    metrics = metrics_of_scores(truth, lambda: [next(versions)])
    assert metrics.by_difficulty["easy"].positions.tolist() == [[0]]


def orders(n_rows, n_columns=2):
    return torch.arange(n_rows)[:, None].repeat(1, n_columns)


@pytest.mark.parametrize(
    ("ranks", "message"),
    [
        (orders(11, 3), r"ranks have 3 columns, but the ground truth made has 2 queries"),
        (orders(10), r"ranks have 10 rows, but the ground truth made has 11 images"),
        (orders(12), r"ranks have 12 rows, .* or is the number of distractors missing\?"),
        (orders(11).clamp(max=9), r"ranks of query 0 lack 1 of 11 images, first image 10"),
        (orders(11) + 1, r"ranks hold image 11, but 11 rows"),
        (orders(11).float(), r"ranks should be integers of shape"),
        (orders(11)[:, 0], r"ranks should be integers of shape"),
    ],
)
def test_ranks_that_do_not_fit_the_ground_truth_are_refused(ranks, message):
    with pytest.raises(DatasetError, match=message):
        metrics_of_ranks(truth_of(ENTRIES, images=map(str, range(11))), ranks)


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.zeros(11, 2), r"scores have 11 rows, but the ground truth made has 2 queries; .* transposed"),
        (torch.zeros(2, 12), r"scores have 12 columns, but the ground truth made has 11 images"),
        (
            torch.zeros(2, 11).index_fill(1, torch.tensor(8), torch.nan),
            r"NaN, first for query 0 and gallery row 8",
        ),
    ],
)
def test_scores_that_do_not_fit_the_ground_truth_are_refused(scores, message):
    with pytest.raises(DatasetError, match=message):
        metrics_of_scores(truth_of(ENTRIES, images=map(str, range(11))), lambda: scores.split(4, dim=1))
