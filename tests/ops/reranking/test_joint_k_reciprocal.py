import pytest
import torch
from test_k_reciprocal import clustered, naive_final_distances
from torch.testing import assert_close

from lookalike.ops.reranking import joint_k_reciprocal
from lookalike.ops.reranking.joint_k_reciprocal import (
    SparseRows,
    joint_encoding,
    joint_k_reciprocal_scores,
)
from lookalike.ops.reranking.k_reciprocal import k_reciprocal_encoding, node_distances


def dense(encoding):
    return torch.stack([encoding.row(i) for i in range(len(encoding.weights.starts) - 1)])


@pytest.mark.parametrize("numbers", [1, 150, 2**22])  # a row at a time, a few, all
@pytest.mark.parametrize(("k1", "k2"), [(7, 3), (5, 1), (20, 6), (1, 1), (60, 6)])
def test_the_encoding_is_the_dense_one_of_all_nodes(noise, monkeypatch, numbers, k1, k2):
    monkeypatch.setattr(joint_k_reciprocal, "_NUMBERS", numbers)
    nodes = clustered(noise, 43).double()
    expected = k_reciprocal_encoding(node_distances(nodes[0], nodes[1:]), k1=k1, k2=k2)
    assert_close(dense(joint_encoding(nodes, k1=k1, k2=k2)), expected)


@pytest.mark.parametrize(("k1", "k2", "lam"), [(7, 3, 0.3), (20, 6, 0.3), (5, 1, 0.0)])
def test_scores_of_every_query_equal_the_sets_of_the_paper_over_all_nodes(noise, k1, k2, lam):
    nodes, n_queries = clustered(noise, 38).double(), 5
    queries, gallery = nodes[:n_queries], nodes[n_queries:]
    candidates = torch.stack(
        [torch.randperm(33, generator=torch.Generator().manual_seed(i)) for i in range(5)]
    )
    encoding = joint_encoding(nodes, k1=k1, k2=k2)
    scores = joint_k_reciprocal_scores(encoding, queries, gallery, candidates, mix=lam)
    for i in range(n_queries):
        order = [i, *(j for j in range(38) if j != i)]  # the naive form takes the probe first
        _, distances = naive_final_distances(nodes[order].numpy(), k1, k2, lam)
        of_gallery = torch.from_numpy(1 - distances)[n_queries - 1 :]
        assert_close(scores[i], of_gallery[candidates[i]])


def test_another_query_changes_the_scores_of_the_first(noise):
    nodes = clustered(noise, 30)
    candidates = torch.arange(28)[None]
    alone, beside = (
        joint_k_reciprocal_scores(
            joint_encoding(torch.cat([queries, nodes[2:]]), k1=6, k2=3),
            queries,
            nodes[2:],
            candidates.expand(len(queries), -1),
            mix=0.3,
        )[0]
        for queries in (nodes[:1], nodes[:2])
    )
    assert (alone - beside).abs().max() > 1e-3


def test_rows_sum_to_one_and_duplicates_have_themselves_first(noise):
    nodes = clustered(noise, 20)[[*range(20), 3, 3]]
    encoding = joint_encoding(nodes, k1=4, k2=1)
    assert_close(dense(encoding).sum(1), torch.ones(22))
    for node in range(22):
        assert encoding.row(node)[node] > 0
        assert_close(encoding.shared(node)[node], torch.tensor(1.0))


def test_entries_of_one_place_are_added_and_rows_are_found_in_any_order():
    rows, columns = torch.tensor([2, 0, 2, 2]), torch.tensor([1, 3, 1, 0])
    matrix = SparseRows.summed(4, rows, columns, torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert [matrix.dense(i).tolist() for i in range(4)] == [[0, 0, 0, 2], [0] * 4, [4, 4, 0, 0], [0] * 4]
    entries, which = matrix.of(torch.tensor([2, 1, 0, 2]))
    assert which.tolist() == [0, 0, 2, 3, 3]
    assert matrix.values[entries].tolist() == [4, 4, 2, 4, 4]
