import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.similarity import cosine_similarity, mean_unit


def test_cosine_by_hand():
    query, gallery = torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0], [-6.0, -8.0], [8.0, -6.0]])
    assert_close(cosine_similarity(query, gallery), torch.tensor([[0.96, -1.0, 0.0]]))


def test_all_pairs_equal_torch_one_by_one(noise):
    query, gallery = noise(3, 7), noise(5, 7, seed=1)
    expected = [[torch.cosine_similarity(q, g, dim=0) for g in gallery] for q in query]
    assert_close(cosine_similarity(query, gallery), torch.tensor(expected))


def test_length_does_not_change_the_cosine(noise):
    query, gallery = noise(3, 7), noise(5, 7, seed=1)
    assert_close(cosine_similarity(1e4 * query, 1e-4 * gallery), cosine_similarity(query, gallery))


def test_a_zero_vector_is_similar_to_nothing(noise):
    assert_close(cosine_similarity(torch.zeros(1, 7), noise(5, 7)), torch.zeros(1, 5))


def test_a_product_with_the_mean_is_the_mean_cosine(noise):
    query, gallery = noise(3, 7), 4 * noise(5, 7, seed=1)
    units = torch.nn.functional.normalize(query, dim=1)
    assert_close(units @ mean_unit(gallery), cosine_similarity(query, gallery).mean(1))


def test_opposite_embeddings_have_no_mean(noise):
    assert_close(mean_unit(torch.stack([noise(7), -3 * noise(7)])), torch.zeros(7))


def test_the_mean_of_no_embeddings_is_refused():
    with pytest.raises(ValueError, match="at least one embedding"):
        mean_unit(torch.zeros(0, 7))
