import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.multiscale import merge_scales, regrid, scale_factors

S, D = 3, 7


@pytest.mark.parametrize("power", [0.5, 1.0, 3.0])
def test_scale_factors_sum_to_the_merged_embedding(power, noise):
    embeddings = noise(S, D).abs()
    embeddings[1, 2] = 0.0
    embeddings[:, 4] = 0.0
    power = torch.tensor(power)
    assert_close((scale_factors(embeddings, power) * embeddings).sum(0), merge_scales(embeddings, power))


def test_merging_by_hand():
    embeddings = torch.tensor([[1.0, 2.0], [3.0, 2.0]])
    assert_close(merge_scales(embeddings, torch.tensor(1.0)), torch.tensor([2.0, 2.0]))
    assert_close(merge_scales(embeddings, torch.tensor(2.0)), torch.tensor([5.0**0.5, 2.0]))


def test_regrid_keeps_the_sum_and_one_cell_at_its_corner(noise):
    shares = noise(3 * 5, D)
    assert_close(regrid(shares, (3, 5), (4, 7)).sum(0), shares.sum(0))
    corner = torch.zeros(3 * 5, 1)
    corner[1 * 5 + 4] = 1.0  # row 1, last column
    spread = regrid(corner, (3, 5), (6, 10)).view(6, 10)
    expected = torch.zeros(6, 10)
    expected[2:4, 8:10] = 0.25
    assert_close(spread, expected)


def test_regrid_to_the_same_grid_changes_nothing(noise):
    shares = noise(3 * 5, D)
    assert_close(regrid(shares, (3, 5), (3, 5)), shares)
