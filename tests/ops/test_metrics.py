import pytest
import torch

from lookalike.ops.metrics import average_precision, map_at_r, r_precision, recall_at_k

RANKING = torch.tensor([True, False, True, False, False])  # and a third relevant item never found


def test_average_precision_by_hand():
    assert average_precision(RANKING, 3) == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision(torch.ones(4, dtype=torch.bool), 4) == 1
    assert average_precision(torch.tensor([False, True]), 1) == 0.5


def test_r_precision_by_hand():
    assert r_precision(RANKING, 3) == pytest.approx(2 / 3)
    assert r_precision(RANKING, 2) == 0.5


def test_map_at_r_by_hand_ignores_what_comes_after_r():
    relevant = torch.stack([RANKING, torch.tensor([False, True, True, True, False])])
    expected = [(1 + 2 / 3) / 3, (1 / 2) / 2]  # R = 3 and R = 2: the second's later hits don't count
    assert map_at_r(relevant, torch.tensor([3, 2])) == pytest.approx(sum(expected) / 2)


def test_recall_counts_queries_and_not_items():
    relevant = torch.tensor([[True, True, False], [False, False, True], [False, True, False]])
    assert [recall_at_k(relevant, k) for k in (1, 2, 3, 9)] == pytest.approx([1 / 3, 2 / 3, 1, 1])


def test_average_precision_equals_scikit_learn_on_distinct_scores(noise):
    metrics = pytest.importorskip("sklearn.metrics")
    scores, relevant = noise(40), noise(40, seed=1) > 0.5
    ranked = relevant[scores.argsort(descending=True)]
    expected = metrics.average_precision_score(relevant, scores)
    assert average_precision(ranked, int(relevant.sum())) == pytest.approx(expected)


def test_a_query_without_a_match_is_refused():
    for metric in (average_precision, r_precision):
        with pytest.raises(ValueError, match="drop queries without a match"):
            metric(RANKING, 0)
    with pytest.raises(ValueError, match="drop queries without a match"):
        map_at_r(RANKING[None], torch.tensor([0]))
    with pytest.raises(ValueError, match="k >= 1"):
        recall_at_k(RANKING[None], 0)
