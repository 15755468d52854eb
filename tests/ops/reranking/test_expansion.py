import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.reranking import augment_database, expand, expand_without_each


def unit(*shape, noise, seed=0):
    return F.normalize(noise(*shape, seed=seed), dim=-1)


def naive_expansion(vector, neighbors, alpha):
    total = vector.clone()
    for neighbor in neighbors:
        cosine = float(vector @ neighbor)
        if cosine > 0:
            total += cosine**alpha * neighbor
    return total / total.norm()


def test_expansion_by_hand():
    query, neighbor = torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.6, 0.8]]])
    expected = torch.tensor([[1 + 0.6**3 * 0.6, 0.6**3 * 0.8]])
    assert_close(expand(query, neighbor, 3.0), F.normalize(expected, dim=1))


def test_expansion_equals_the_loop_of_the_paper(noise):
    queries, neighbors = unit(3, 7, noise=noise), unit(3, 5, 7, noise=noise, seed=1)
    for alpha in (0.0, 1.0, 2.5):
        expected = [naive_expansion(q, n, alpha) for q, n in zip(queries, neighbors, strict=True)]
        assert_close(expand(queries, neighbors, alpha), torch.stack(expected))


def test_leaving_a_neighbor_out_equals_expanding_without_it(noise):
    query, neighbors = unit(7, noise=noise), unit(5, 7, noise=noise, seed=1)
    without = expand_without_each(query, neighbors, 2.0)
    for i in range(5):
        others = torch.cat([neighbors[:i], neighbors[i + 1 :]])
        assert_close(without[i], naive_expansion(query, others, 2.0))


def test_an_opposite_neighbor_lends_nothing():
    assert_close(expand(torch.eye(2)[:1], -torch.eye(2)[None, :1], 0.0), torch.eye(2)[:1])


def test_augmentation_equals_the_loop_of_the_paper(noise):
    gallery = unit(13, 7, noise=noise)
    rows = torch.tensor([12, 0, 5])
    augmented = augment_database(gallery, rows, 4, 2.0)
    for row, vector in zip(rows.tolist(), augmented, strict=True):
        cosines = gallery @ gallery[row]
        others = [i for i in cosines.argsort(descending=True).tolist() if i != row][:4]
        assert_close(vector, naive_expansion(gallery[row], gallery[others], 2.0))


def test_augmentation_does_not_change_its_argument(noise):
    gallery = unit(13, 7, noise=noise)
    before = gallery.clone()
    augment_database(gallery, torch.arange(13), 4, 2.0)
    assert torch.equal(gallery, before)


def test_augmentation_of_a_permuted_gallery_is_the_permuted_augmentation(noise):
    gallery = unit(13, 7, noise=noise)
    order = torch.randperm(13, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(13)
    permuted = augment_database(gallery[order], rows, 4, 2.0)
    assert_close(permuted, augment_database(gallery, rows, 4, 2.0)[order])


def test_duplicates_and_a_gallery_of_one_are_augmented_to_themselves(noise):
    same = unit(1, 7, noise=noise).repeat(6, 1)
    assert_close(augment_database(same, torch.arange(6), 3, 2.0), same)
    assert_close(augment_database(same[:1], torch.tensor([0]), 3, 2.0), same[:1])
