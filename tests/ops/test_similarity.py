import torch
from torch.testing import assert_close

from lookalike.ops.similarity import cosine_similarity


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
