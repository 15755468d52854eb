"""Metrics of retrieval: against pytorch-metric-learning, naive loops, and planted answers."""

import pytest
import torch

from lookalike.errors import DatasetError
from lookalike.evaluation import cluster_agreement, labeled, retrieve, summarize

NAMES = {
    "precision_at_1": "recall_at_1",
    "r_precision": "r_precision",
    "mean_average_precision_at_r": "map_at_r",
    "mean_average_precision": "mean_average_precision",
    "mean_reciprocal_rank": "mean_reciprocal_rank",
}


def embeddings(noise, n, classes, seed=0, spread=0.8):
    """Noisy classes in 9 dimensions; a few classes have one member only."""
    codes = torch.randint(classes, (n,), generator=torch.Generator().manual_seed(seed + 7))
    centers = noise(classes, 9, seed=99)
    return centers[codes] + spread * noise(n, 9, seed=seed), codes


def made(values, codes, source="made up"):
    return labeled(values, [f"{code:03d}" for code in codes.tolist()], source=source)


def means(retrieved):
    return dict(zip(retrieved.metrics, retrieved.values.mean(0).tolist(), strict=True))


def sorted_neighbors(query, k, reference, ref_includes_query):
    """All neighbors by cosine, equal ones in the order of their rows, without the query's own."""
    cosines = query @ reference.T
    if ref_includes_query:
        cosines.fill_diagonal_(-torch.inf)
    values, rows = cosines.sort(dim=1, descending=True, stable=True)
    return -values[:, :k], rows[:, :k]


def judged_elsewhere(query, query_codes, reference=None, reference_codes=None, knn_func=None):
    """What pytorch-metric-learning says of the same embeddings."""
    calculators = pytest.importorskip("pytorch_metric_learning.utils.accuracy_calculator")
    calculator = calculators.AccuracyCalculator(include=tuple(NAMES), k=None, knn_func=knn_func)
    answer = calculator.get_accuracy(query, query_codes, reference, reference_codes)
    return {NAMES[name]: value for name, value in answer.items()}


def check_agreement(found, expected):
    for metric, value in expected.items():
        assert found[metric] == pytest.approx(value, abs=1e-6), metric


def test_metrics_without_self_match_equal_another_library(noise):
    values, codes = embeddings(noise, 120, 40)
    units = torch.nn.functional.normalize(values)
    retrieved = retrieve(made(values, codes))
    assert 0 < retrieved.n_without_match < 20  # classes of one are there, and left out by both
    check_agreement(means(retrieved), judged_elsewhere(units, codes))


def test_metrics_of_queries_in_another_gallery_equal_another_library(noise):
    values, codes = embeddings(noise, 50, 40)
    gallery_values, gallery_codes = embeddings(noise, 90, 35, seed=3)
    retrieved = retrieve(made(values, codes), made(gallery_values, gallery_codes))
    assert retrieved.n_without_match > 0
    units, gallery_units = (torch.nn.functional.normalize(v) for v in (values, gallery_values))
    check_agreement(means(retrieved), judged_elsewhere(units, codes, gallery_units, gallery_codes))


@pytest.mark.parametrize("leaves_self_out", [True, False])
def test_metrics_with_ties_equal_another_library(noise, leaves_self_out):
    """Corners of a cube: a few directions only, so most similarities tie, also with the query's own."""
    values = (noise(80, 3) > 0).float() * 2 - 1
    codes = torch.randint(9, (80,), generator=torch.Generator().manual_seed(1))
    units = torch.nn.functional.normalize(values.double()).float()
    other = () if leaves_self_out else (units, codes)
    expected = judged_elsewhere(units, codes, *other, knn_func=sorted_neighbors)
    gallery = None if leaves_self_out else made(values, codes)
    check_agreement(means(retrieve(made(values, codes), gallery)), expected)


def test_a_query_in_the_gallery_finds_itself_only_where_nothing_is_left_out(noise):
    values, codes = embeddings(noise, 30, 4)
    data = made(values, codes)
    assert means(retrieve(data, data))["recall_at_1"] == 1
    alone = retrieve(data)
    assert not (alone.nearest == alone.asked[:, None]).any()


def test_blocks_do_not_change_the_answer(noise, monkeypatch):
    values, codes = embeddings(noise, 47, 8)
    whole = retrieve(made(values, codes), depth=5)
    monkeypatch.setattr("lookalike.evaluation.retrieval._BLOCK", 47 * 3)
    in_blocks = retrieve(made(values, codes), depth=5)
    torch.testing.assert_close(in_blocks.values, whole.values)
    torch.testing.assert_close(in_blocks.nearest, whole.nearest)


def test_the_nearest_are_those_of_a_full_sort(noise):
    values, codes = embeddings(noise, 20, 4)
    retrieved = retrieve(made(values, codes), depth=6)
    units = torch.nn.functional.normalize(values)
    _, expected = sorted_neighbors(units, 6, units, True)
    torch.testing.assert_close(retrieved.nearest, expected[retrieved.asked])
    right = codes[retrieved.nearest] == codes[retrieved.asked, None]
    torch.testing.assert_close(retrieved.is_right(), right)


def test_perfect_classes_are_perfect_in_every_metric():
    values = torch.eye(6).repeat_interleave(4, dim=0)
    data = made(values, torch.arange(6).repeat_interleave(4))
    evaluation = summarize(retrieve(data), clusters=cluster_agreement(data))
    assert all(metric.value == metric.low == metric.high == 1 for metric in evaluation.metrics)
    assert evaluation.clusters.nmi == evaluation.clusters.ami == pytest.approx(1)


def test_clusters_of_noise_agree_by_chance_only(noise):
    data = made(noise(200, 9), torch.arange(200) % 20)
    clusters = cluster_agreement(data)
    assert abs(clusters.ami) < 0.06 and clusters.nmi > 0.3  # what AMI is adjusted for


def test_worst_classes_come_first_and_say_what_is_found_instead():
    """Class x lies on class y; z is apart."""
    values = torch.tensor([[1, 0.0], [1, 0.1], [1, 0.01], [1, 0.11], [1, 0.12], [0, 1], [0.1, 1]])
    data = labeled(values, list("xxyyyzz"), source="made up")
    worst = summarize(retrieve(data)).classes
    assert [each.label for each in worst] == ["x", "y", "z"]
    assert (worst[0].confused_with, worst[0].n_confused, worst[0].recall_at_1) == ("y", 2, 0)
    assert (worst[2].confused_with, worst[2].n_confused, worst[2].recall_at_1) == ("", 0, 1)


def test_intervals_hold_the_mean_and_shrink_with_more_queries(noise):
    wide, narrow = (summarize(retrieve(made(*embeddings(noise, n, 10)))) for n in (60, 600))
    for evaluation in (wide, narrow):
        assert all(f.low <= f.value <= f.high for f in evaluation.metrics)
    width = [e.metric("recall_at_1").high - e.metric("recall_at_1").low for e in (wide, narrow)]
    assert width[1] < 0.6 * width[0]


@pytest.mark.parametrize(
    ("values", "labels", "words"),
    [
        (torch.ones(3, 2), "ab", r"3 embeddings and 2 labels"),
        (torch.ones(3, 2), "aaa", r"all 3 labels of made up are 'a'"),
        (torch.ones(3, 2), "abc", r"no query of made up has a match: every class has one image"),
        (torch.tensor([[1, 2.0], [1, torch.nan], [1, 1]]), "aab", r"1 of 3 .* NaN .* row 1"),
        (torch.tensor([[1, 2.0], [1, 1], [0, 0]]), "aab", r"zero .* row 2"),
    ],
)
def test_what_can_not_be_judged_is_refused(values, labels, words):
    with pytest.raises(DatasetError, match=words):
        retrieve(labeled(values, list(labels), source="made up"))


def test_queries_of_another_width_or_without_a_label_are_refused(noise):
    data = labeled(noise(4, 3), list("aabb"), source="made up")
    with pytest.raises(DatasetError, match="width 5 and the gallery 3"):
        retrieve(labeled(noise(2, 5), list("ab"), source="queries"), data)
    with pytest.raises(DatasetError, match="none of their labels"):
        retrieve(labeled(noise(2, 3), list("xy"), source="queries"), data)
    with pytest.raises(ValueError, match="1 or more"):
        retrieve(data, ks=(0, 1))
