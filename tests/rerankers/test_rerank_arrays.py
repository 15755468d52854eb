import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike.errors import UnknownNameError
from lookalike.rerankers import first_stage, make_reranker, rerank


def test_arrays_are_ranked_and_reranked_as_by_hand(noise):
    queries, gallery = noise(3, 6), noise(12, 6, seed=1)
    expected = make_reranker("aqe", n=3)(first_stage(queries, gallery, k=5))
    found = rerank(queries, gallery, method="aqe", k=5, n=3)
    assert torch.equal(found.indices, expected.indices)
    assert_close(found.scores, expected.scores)
    of_numpy = rerank(queries.numpy().astype(np.float64), gallery.numpy(), method="aqe", k=5, n=3)
    assert torch.equal(of_numpy.indices, found.indices)


def test_the_bundled_network_is_the_default_and_a_long_list_is_the_whole_gallery(noise):
    assert rerank(noise(2, 8), noise(9, 8, seed=1)).indices.shape == (2, 9)


def test_what_can_not_be_ranked_is_said(noise):
    with pytest.raises(UnknownNameError, match="got 'magic'"):
        rerank(noise(1, 4), noise(2, 4), method="magic")
    with pytest.raises(ValueError, match="no option 'm'"):
        rerank(noise(1, 4), noise(2, 4), method="aqe", m=3)
    with pytest.raises(ValueError, match="width 4 and the gallery 5"):
        rerank(noise(1, 4), noise(2, 5), method="aqe")
