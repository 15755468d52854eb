"""Metrics from lists that are cut off, against a naive loop over whole rankings."""

import pytest
import torch

from lookalike.images import Preprocessing
from lookalike.training import validation
from lookalike.training.validation import RECALLS, metrics_of_queries

CODES = (0, 0, 0, 1, 1, 2, 0, 1, 3, 3, 3, 3, 2, 4)  # class 4 has one image: no query


class Ranked(torch.nn.Module):
    """Stands in for a network: similarities of 14 images are given."""

    def __init__(self, similarities):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.similarities = similarities

    def nearest(self, batches, k):
        return self.similarities.topk(k).indices


class Labeled:
    codes = CODES
    labels = tuple(map(str, CODES))

    def __len__(self):
        return len(CODES)


def naive(similarities, query):
    ranking = [row for row in similarities[query].argsort(descending=True).tolist() if row != query]
    right = [CODES[row] == CODES[query] for row in ranking]
    n = sum(right)
    precisions = [sum(right[: i + 1]) / (i + 1) for i in range(n) if right[i]]
    return [*(float(any(right[:k])) for k in RECALLS), sum(precisions) / n]


@pytest.mark.parametrize("seed", range(5))
def test_metrics_equal_a_naive_loop(monkeypatch, seed):
    monkeypatch.setattr(validation, "evaluation_batches", lambda *_, **__: iter(()))
    generator = torch.Generator().manual_seed(seed)
    similarities = torch.rand(len(CODES), len(CODES), generator=generator).fill_diagonal_(-1)
    found = metrics_of_queries(Ranked(similarities), Labeled(), Preprocessing("squash", (8, 8)))
    expected = [naive(similarities, query) for query in range(len(CODES) - 1)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))
