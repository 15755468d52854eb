"""k-occurrence and the neighborhoods of CSLS against naive loops."""

import torch

from lookalike.ops.hubs import nearest_rows, neighborhood_similarity, occurrences


def unit(noise, n, d, seed=0):
    return torch.nn.functional.normalize(noise(n, d, seed=seed), dim=1)


def test_an_image_is_not_its_own_neighbor_and_the_rest_are_the_nearest(noise):
    gallery = unit(noise, 23, 5)
    rows = torch.tensor([4, 0, 17])
    found = nearest_rows(gallery[rows], gallery, rows, 6)
    for neighbors, row in zip(found.tolist(), rows.tolist(), strict=True):
        others = sorted((float(gallery[row] @ gallery[i]), i) for i in range(23) if i != row)
        assert neighbors == [i for _, i in others[::-1][:6]]


def test_occurrences_of_all_items_sum_to_the_neighbors(noise):
    gallery = unit(noise, 23, 5)
    neighbors = nearest_rows(gallery, gallery, torch.arange(23), 4)
    counts = occurrences(neighbors, 23)
    assert counts.sum() == 23 * 4
    assert counts[7] == sum(7 in row for row in neighbors.tolist())


def test_the_neighborhood_of_an_item_leaves_itself_out(noise):
    items = unit(noise, 11, 7)
    own = torch.arange(11)
    own[3] = -1  # not among the references: itself counts, if it is one of them
    found = neighborhood_similarity(items, items, 4, own)
    for i in (0, 3, 10):
        products = [float(items[i] @ items[j]) for j in range(11) if j != i or i == 3]
        assert abs(found[i] - sum(sorted(products)[-4:]) / 4) < 1e-6
