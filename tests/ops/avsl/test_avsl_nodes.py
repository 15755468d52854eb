import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.avsl import activation_maps, certainty, map_cosines, node_embedding, sparse_links
from lookalike.ops.pooling import average_plus_max_shares


def test_maps_average_to_the_embedding(noise):
    features, weight, bias = noise(2, 5, 3, 7), noise(11, 5, seed=1), noise(11, seed=2)
    maps = activation_maps(features, weight, bias)
    assert_close(maps.mean((2, 3)), node_embedding(features, weight, bias))


def test_maps_are_the_shares_of_average_and_max_pooling(noise):
    features, weight = noise(2, 5, 3, 7).relu(), noise(11, 5, seed=1)  # relu: maxima of zero, with ties
    shares = average_plus_max_shares(features.flatten(2).transpose(1, 2)) @ weight.T  # (B, N, D)
    maps = activation_maps(features, weight, torch.zeros(11))
    assert_close(maps.flatten(2).transpose(1, 2) / 21, shares)


def test_certainty_by_hand():
    maps = torch.tensor([[[[1.0, 3.0], [5.0, 5.0], [2.0, 8.0]]]])  # rows less their minimum: 0 2, 0 0, 0 6
    expected = torch.tensor([0, 2, 0, 0, 0, 6.0]).div(8).std()
    assert_close(certainty(maps), expected.reshape(1, 1))


def test_a_flat_map_and_a_single_cell_are_certain_of_nothing():
    assert certainty(torch.full((1, 1, 3, 5), 4.0)).item() == 0
    assert certainty(torch.ones(1, 1, 1, 1)).item() == 0


def test_links_find_the_planted_parent():
    low, high = torch.zeros(1, 3, 4, 6), torch.zeros(1, 2, 2, 3)
    low[0, 1, :2, 2:4] = 5.0  # covers the cell (0, 1) of the coarser grid
    low[0, 2, 2:, :2] = 1.0  # covers (1, 0)
    high[0, 0, 1, 0] = 2.0
    high[0, 1, 0, 1] = 9.0
    assert_close(map_cosines(low, high), torch.tensor([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]]))


def test_sparse_links_by_hand():
    correlation = torch.tensor([[0.6, -0.5], [0.2, 0.3], [0.1, -0.1], [0.2, 0.0]])
    # the second column has one positive number; of the first, both that tie for second cell stay
    expected = torch.tensor([[0.6, 0.0], [0.2, 0.3], [0.0, 0.0], [0.2, 0.0]])
    assert_close(sparse_links(correlation, 2), expected / expected.sum(0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("top_k", [1, 4, 500])
def test_columns_of_sparse_links_sum_to_one(top_k, noise):
    links = sparse_links(noise(9, 13), top_k)
    assert_close(links.sum(0), torch.ones(13))
    assert int((links > 0).sum(0).max()) <= top_k
