import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.neighbors import largest_k, nearest


@pytest.mark.parametrize("k", [1, 4, 23, 40])
@pytest.mark.parametrize("blocks", [(1, 1), (2, 5), (64, 64)])
def test_blocks_find_what_one_whole_sort_finds(noise, k, blocks):
    query, gallery = noise(7, 11), noise(23, 11, seed=1)
    cosines = torch.cosine_similarity(query[:, None], gallery[None], dim=2)
    expected = cosines.argsort(dim=1, descending=True)[:, :k]
    scores, rows = nearest(query, gallery, k, query_block=blocks[0], gallery_block=blocks[1])
    assert rows.tolist() == expected.tolist()
    assert_close(scores, cosines.gather(1, expected))


@pytest.mark.parametrize("gallery_block", [2, 3, 100])
def test_equal_cosines_come_in_the_order_of_their_rows(gallery_block):
    gallery = torch.eye(3)[[0, 1, 0, 2, 0, 0, 1]]
    rows = nearest(torch.eye(3)[:2], gallery, 3, gallery_block=gallery_block)[1]
    assert rows.tolist() == [[0, 2, 4], [1, 6, 0]]


def test_largest_k_equals_a_stable_sort_where_most_numbers_are_equal():
    values = torch.randint(0, 4, (50, 37), generator=torch.Generator().manual_seed(0)).float()
    for k in (1, 5, 36, 37, 50):
        expected, columns = values.sort(dim=1, descending=True, stable=True)
        assert torch.equal(largest_k(values, k)[1], columns[:, :k])
        assert torch.equal(largest_k(values, k)[0], expected[:, :k])


def test_a_permuted_gallery_gives_the_same_items(noise):
    query, gallery = noise(7, 11), noise(23, 11, seed=1)
    order = torch.randperm(23, generator=torch.Generator().manual_seed(2))
    assert torch.equal(order[nearest(query, gallery[order], 5)[1]], nearest(query, gallery, 5)[1])


def test_k_below_one_is_refused(noise):
    with pytest.raises(ValueError, match="1 or more, got 0"):
        nearest(noise(2, 5), noise(3, 5), 0)
