"""Agreement of lists and maps: numbers worked out by hand, and loops."""

import numpy as np
import pytest
import torch

from lookalike.ops.agreement import (
    jaccard_at_k,
    list_overlaps,
    rank_biased_overlap,
    shared_mass,
)

FIRST = torch.tensor([[1, 2, 3, 4], [1, 2, 3, 4], [1, 2, 3, 4]])
SECOND = torch.tensor([[2, 1, 9, 4], [5, 6, 7, 8], [1, 2, 3, 4]])


def test_overlaps_and_jaccard_by_hand():
    overlaps = list_overlaps(FIRST, SECOND)
    assert overlaps.tolist() == [[0, 2, 2, 3], [0, 0, 0, 0], [1, 2, 3, 4]]
    assert jaccard_at_k(overlaps, 3).tolist() == [2 / 4, 0, 1]
    assert jaccard_at_k(overlaps, 4).tolist() == [3 / 5, 0, 1]


def test_overlaps_equal_sets_of_beginnings():
    rng = np.random.default_rng(0)
    lists = [np.stack([rng.permutation(30)[:11] for _ in range(5)]) for _ in range(2)]
    expected = [[len(set(a[:d]) & set(b[:d])) for d in range(1, 12)] for a, b in zip(*lists, strict=True)]
    assert list_overlaps(*map(torch.from_numpy, lists)).tolist() == expected


def test_rank_biased_overlap_by_hand():
    """p = 0.5: agreements 0, 1, 2/3, 3/4 weigh 1/2, 1/4, 1/8, 1/16; the last goes on for another 1/16."""
    found = rank_biased_overlap(list_overlaps(FIRST, SECOND), p=0.5)
    expected = 0 / 2 + 1 / 4 + (2 / 3) / 8 + (3 / 4) / 16 + (3 / 4) / 16
    torch.testing.assert_close(found, torch.tensor([expected, 0.0, 1.0], dtype=torch.float64))


def test_rank_biased_overlap_counts_the_first_ranks_most():
    same_first = list_overlaps(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 8, 9]]))
    same_last = list_overlaps(torch.tensor([[1, 2, 3]]), torch.tensor([[7, 8, 3]]))
    assert rank_biased_overlap(same_first) > rank_biased_overlap(same_last)


def test_shared_mass_ignores_scale_and_negative_cells():
    a = torch.tensor([[2.0, 2.0, -5.0], [0.0, 4.0, 0.0]])
    assert shared_mass(a, 7 * a.clamp(min=0)) == pytest.approx(1)
    assert shared_mass(a, torch.tensor([[0.0, 0, 1], [1, 0, 1]])) == 0
    assert shared_mass(a, torch.tensor([[1.0, 0, 0], [0, 1, 0]])) == pytest.approx(1 / 4 + 1 / 2)
    assert shared_mass(a, -torch.ones(2, 3)) == 0


def test_depths_and_weights_that_make_no_sense_are_refused():
    overlaps = list_overlaps(FIRST, SECOND)
    for k in (0, 5):
        with pytest.raises(ValueError, match="4 items"):
            jaccard_at_k(overlaps, k)
    with pytest.raises(ValueError, match="between 0 and 1"):
        rank_biased_overlap(overlaps, p=1.0)
