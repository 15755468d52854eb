"""Metrics from lists that are cut off, against a naive loop over whole rankings."""

import pytest
import torch

from lookalike.images import Preprocessing
from lookalike.ops.compared import ComparedUnits
from lookalike.training import TrainSettings, validation
from lookalike.training.validation import metrics_of_queries, validate

CODES = (0, 0, 0, 1, 1, 2, 0, 1, 3, 3, 3, 3, 2, 4)  # class 4 has one image: no query


RECALLS = (1, 3, 10)
SETTINGS = TrainSettings(recalls=RECALLS)


class Ranked(torch.nn.Module):
    """Stands in for a network: similarities of 14 images are given."""

    def __init__(self, similarities):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.table = similarities

    def compared(self, batches):
        return self

    def __len__(self):
        return len(self.table)

    def similarities(self, rows, others, columns=None):
        return self.table[rows] if columns is None else self.table[rows][:, columns]


class Labeled:
    codes = CODES
    labels = tuple(map(str, CODES))
    classes = tuple(map(str, sorted(set(CODES))))

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
    found = metrics_of_queries(Ranked(similarities), Labeled(), Preprocessing("squash", (8, 8)), SETTINGS)
    expected = [naive(similarities, query) for query in range(len(CODES) - 1)]
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_clusters_of_any_similarity_agree_with_labels_that_it_tells_apart(monkeypatch):
    monkeypatch.setattr(validation, "evaluation_batches", lambda *_, **__: iter(()))
    codes = torch.tensor(CODES)
    alike = (codes[:, None] == codes).float()
    settings = TrainSettings(recalls=RECALLS, clustering=True)
    found = validate(Ranked(alike), Labeled(), Preprocessing("squash", (8, 8)), settings)
    assert list(found) == ["recall_at_1", "recall_at_3", "recall_at_10", "map_at_r", "nmi", "ami", "f1"]
    assert found["nmi"] == pytest.approx(1) and found["f1"] == 1
    vectors = Ranked(alike)
    vectors.compared = lambda batches: ComparedUnits(torch.eye(5)[codes])
    again = validate(vectors, Labeled(), Preprocessing("squash", (8, 8)), settings)
    assert again["ami"] == pytest.approx(1)
