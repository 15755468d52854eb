import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.similarity import cosine_similarity, mean_unit, unit_rows


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


def test_unit_rows_are_kept_bit_by_bit_beside_others(noise):
    units = unit_rows(noise(500, 70))
    assert torch.equal(unit_rows(units), units)
    assert not torch.equal(units / units.norm(dim=1, keepdim=True), units)  # what dividing again would do
    mixed = unit_rows(torch.cat([units, 3 * units]))
    assert torch.equal(mixed[:500], units)
    torch.testing.assert_close(mixed[500:], units)


def test_rows_of_a_length_that_is_no_rounding_are_scaled(noise):
    rows = unit_rows(noise(5, 7)) * 1.00001
    lengths = unit_rows(rows).double().norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones_like(lengths), atol=1e-7, rtol=0)
    short = unit_rows(torch.tensor([[3e-30, 4e-30], [3e30, 4e30], [0.0, 0.0]]))
    torch.testing.assert_close(short, torch.tensor([[0.6, 0.8], [0.6, 0.8], [0.0, 0.0]]))
