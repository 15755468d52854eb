import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.multiscale import merge_scales, scale_factors

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
