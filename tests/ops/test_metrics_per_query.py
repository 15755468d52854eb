"""Ranks of relevant items and the metrics of each query: by hand, by loops, by another library."""

import numpy as np
import pytest
import torch

from lookalike.ops import metrics
from lookalike.ops.metrics_per_query import (
    average_precisions,
    average_precisions_at_r,
    is_recalled_at_k,
    r_precisions,
    reciprocal_ranks,
)
from lookalike.ops.relevant_ranks import relevant_ranks

NONE = float("inf")


def test_metrics_of_one_query_by_hand():
    """Relevant at ranks 1, 3 and 6 of many: R is 3."""
    ranks = torch.tensor([[1.0, 3.0, 6.0, NONE]])
    assert average_precisions(ranks).item() == pytest.approx((1 + 2 / 3 + 3 / 6) / 3)
    assert average_precisions_at_r(ranks).item() == pytest.approx((1 + 2 / 3) / 3)
    assert r_precisions(ranks).item() == pytest.approx(2 / 3)
    assert reciprocal_ranks(torch.tensor([[4.0, 9.0]])).item() == 0.25
    assert [is_recalled_at_k(torch.tensor([[4.0, 9.0]]), k).item() for k in (1, 3, 4)] == [0, 0, 1]


def naive_ranks(similarities, relevant):
    """Sort each row, equal numbers in the order of their columns, and look the relevant ones up."""
    ranks = []
    for row, wanted in zip(similarities.tolist(), relevant.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda column: (-row[column], column))
        found = sorted(order.index(column) + 1 for column in wanted if column >= 0)
        ranks.append(found + [NONE] * (len(wanted) - len(found)))
    return torch.tensor(ranks, dtype=torch.float64)


@pytest.mark.parametrize("levels", [2, 5, 10**6], ids=["few values", "some ties", "no ties"])
def test_ranks_equal_a_loop(noise, levels):
    similarities = (noise(9, 23) * levels).round() / levels
    relevant = torch.stack(
        [torch.randperm(23, generator=torch.Generator().manual_seed(i))[:6] for i in range(9)]
    )
    relevant[2, 1:] = -1
    relevant[5] = -1
    torch.testing.assert_close(relevant_ranks(similarities, relevant), naive_ranks(similarities, relevant))


def test_copies_among_the_relevant_each_have_a_rank_of_their_own():
    similarities = torch.tensor([[0.9, 0.2, 0.9, 0.9, 0.5]])
    ranks = relevant_ranks(similarities, torch.tensor([[3, 0, 2, -1]]))
    assert ranks.tolist() == [[1.0, 2.0, 3.0, NONE]]
    assert average_precisions_at_r(ranks).item() == 1


def test_what_is_left_out_ranks_last_and_moves_nobody(noise):
    similarities = noise(4, 9)
    relevant = torch.tensor([[1, 3]]).expand(4, 2).contiguous()
    without = similarities.clone()
    without[:, 0] = -torch.inf
    shorter = relevant_ranks(similarities[:, 1:].contiguous(), relevant - 1)
    torch.testing.assert_close(relevant_ranks(without, relevant), shorter)


def test_means_over_queries_are_the_metrics_of_masks(noise):
    """The same ranking told as ranks and as masks of relevant items."""
    mask = noise(11, 17) > 0.3
    mask[:, 4] = True
    n_relevant = mask.sum(1)
    ranks = torch.where(mask, torch.arange(1.0, 18), torch.inf).sort(dim=1).values.double()
    one_by_one = [metrics.average_precision(row, int(n)) for row, n in zip(mask, n_relevant, strict=True)]
    assert average_precisions(ranks).mean().item() == pytest.approx(np.mean(one_by_one), abs=1e-12)
    assert average_precisions_at_r(ranks).mean().item() == pytest.approx(metrics.map_at_r(mask, n_relevant))
    precisions = [metrics.r_precision(row, int(n)) for row, n in zip(mask, n_relevant, strict=True)]
    assert r_precisions(ranks).mean().item() == pytest.approx(np.mean(precisions), abs=1e-12)
    for k in (1, 2, 5):
        assert is_recalled_at_k(ranks, k).mean().item() == pytest.approx(metrics.recall_at_k(mask, k))


def test_a_query_without_a_match_is_refused():
    for metric in (average_precisions, average_precisions_at_r, r_precisions, reciprocal_ranks):
        with pytest.raises(ValueError, match="drop queries without a match"):
            metric(torch.tensor([[1.0, NONE], [NONE, NONE]]))
    with pytest.raises(ValueError, match="k >= 1"):
        is_recalled_at_k(torch.tensor([[1.0]]), 0)
