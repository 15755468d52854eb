"""Similarities of items: rows and columns of the whole table, whatever compares them."""

import pytest
import torch
from torch.testing import assert_close

from lookalike.ops import compared
from lookalike.ops.avsl import Graph, Nodes, final_distances, sparse_links
from lookalike.ops.compared import ComparedNodes, ComparedUnits

N, D = 9, 7


def nodes(noise, n=N, seed=0):
    embeddings = tuple(noise(n, D, seed=seed + i) for i in range(3))
    return Nodes(embeddings, tuple(noise(n, D, seed=seed + 5 + i).abs() / 3 for i in range(3)))


def graph(noise):
    links = tuple(sparse_links(noise(D, D, seed=20 + i), 3) for i in range(2))
    return Graph(links, tuple(1 + noise(D, seed=30 + i) for i in range(3)), (torch.zeros(D),) * 3)


@pytest.mark.parametrize("kept", [compared._KEPT, 3], ids=["kept", "streamed"])
def test_nodes_are_compared_by_half_the_inferred_distance(noise, monkeypatch, kept):
    monkeypatch.setattr(compared, "_KEPT", kept)
    items, others = (
        ComparedNodes(nodes(noise), graph(noise)),
        ComparedNodes(nodes(noise, 4, 50), graph(noise)),
    )
    among = 1 - final_distances(items.nodes, items.nodes, items.graph) / 2
    across = 1 - final_distances(items.nodes, others.nodes, items.graph) / 2
    rows, columns = torch.tensor([5, 0]), torch.tensor([2, 3, 3])
    assert_close(items.similarities(rows, items), among[rows])
    assert_close(items.similarities(rows, items, columns), among[rows][:, columns])
    assert_close(items.similarities(rows, others), across[rows])
    assert_close(items.similarities(rows, others, columns), across[rows][:, columns])


def test_what_a_caller_changes_in_similarities_is_not_kept(noise):
    items = ComparedNodes(nodes(noise), graph(noise))
    first = items.similarities(torch.arange(N), items)
    again = items.similarities(torch.arange(N), items)
    first.fill_(-torch.inf)
    assert again.isfinite().all() and items.similarities(torch.arange(N), items).isfinite().all()


def test_units_are_compared_by_their_cosine(noise):
    units = torch.nn.functional.normalize(noise(N, D))
    items = ComparedUnits(units)
    rows, columns = torch.tensor([1, 8]), torch.tensor([0, 4, 2])
    assert_close(items.similarities(rows, items, columns), (units @ units.T)[rows][:, columns])
