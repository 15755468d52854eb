"""Views of a shortlist's cosines: against expansion of the vectors themselves, and by hand."""

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.context import (
    expanded_cosines,
    mutual_cosines,
    shortlist_cosines,
    standardized_columns,
)
from lookalike.ops.reranking import expand

Q, K, D = 2, 9, 5


@pytest.fixture
def shortlists(noise):
    return F.normalize(noise(Q, D, seed=1), dim=1), F.normalize(noise(Q, K, D, seed=2), dim=2)


def test_cosines_are_of_the_query_first_and_then_the_candidates(shortlists):
    queries, candidates = shortlists
    cosines = shortlist_cosines(queries, candidates)
    assert cosines.shape == (Q, 1 + K, 1 + K)
    assert_close(cosines[1, 0, 1:], candidates[1] @ queries[1])
    assert_close(cosines[1, 3, 7], candidates[1, 2] @ candidates[1, 6])


def test_expanded_cosines_are_the_cosines_of_expanded_vectors(shortlists):
    n, alpha = 3, 2.0
    cosines = shortlist_cosines(*shortlists)
    items = torch.cat([shortlists[0][:, None], shortlists[1]], dim=1)
    for q in range(Q):
        others = cosines[q].clone().fill_diagonal_(-9).topk(n, dim=1).indices  # (T, n)
        new = expand(items[q], items[q][others], alpha)
        assert_close(expanded_cosines(cosines, n, alpha)[q], new @ new.T, atol=1e-5, rtol=1e-5)


def test_mutual_cosines_are_a_loop_over_mutual_neighbors(shortlists):
    n, smooth = 3, 2
    cosines = shortlist_cosines(*shortlists)
    for q in range(Q):
        order = cosines[q].argsort(dim=1, descending=True)
        near = [set(row[: n + 1].tolist()) for row in order]
        weights = torch.zeros(1 + K, 1 + K)
        for i in range(1 + K):
            for j in near[i]:
                if i in near[j]:
                    weights[i, j] = cosines[q, i, j].exp()
        weights = weights / weights.sum(1, keepdim=True)
        described = torch.stack([weights[row[:smooth]].mean(0) for row in order])
        units = F.normalize(described, dim=1)
        assert_close(mutual_cosines(cosines, n, smooth)[q], units @ units.T, atol=1e-5, rtol=1e-5)


def test_standardized_columns_forget_scale_and_offset_and_pad_with_zero(noise):
    cosines = noise(Q, 6, 6, seed=3)
    columns = standardized_columns(cosines, 4)
    assert_close(columns.mean((1, 2)), torch.zeros(Q), atol=1e-6, rtol=0)
    assert_close(columns.std((1, 2), correction=0), torch.ones(Q))
    assert_close(standardized_columns(0.1 * cosines + 0.9, 4), columns, atol=1e-4, rtol=1e-4)
    padded = standardized_columns(cosines, 8)
    assert padded.shape == (Q, 6, 8) and (padded[:, :, 6:] == 0).all()


def test_a_list_of_equal_items_says_nothing():
    assert (standardized_columns(torch.ones(1, 3, 3), 2) == 0).all()
