"""The revisited protocol against its definition, walked down rank by rank."""

import math

import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.revisited import (
    NOWHERE,
    clear_positions,
    count_ahead,
    order_keys,
    positions_in_ranks,
    precision_at_recall,
    precision_within,
    trapezoidal_average_precision,
)

CASES = [
    ([3, 1, 4, 0, 2, 5], {1, 2}, {3, 0}),
    ([0, 1, 2], {0}, set()),
    ([0, 1, 2], {2}, {0, 1}),
    ([1, 0], set(), {1}),
]


def walk(ranking, positives, junk, k):
    """Average precision and precision within k by the definition: one ranked image after the other."""
    if not positives:
        return math.nan, math.nan
    cell, found, area, hits = 0, 0, 0.0, []
    for image in ranking:
        if image in junk:
            continue
        if image in positives:
            before = 1.0 if cell == 0 else found / cell
            found += 1
            area += (before + found / (cell + 1)) / 2
            hits.append(cell + 1)
        cell += 1
    within = min(hits[-1], k)
    return area / len(positives), sum(hit <= within for hit in hits) / within


def random_truth(generator, n_images, n_listed):
    listed = torch.randperm(n_images, generator=generator)[:n_listed]
    return listed, torch.randint(3, (n_listed,), generator=generator)  # 0 positive, 1 junk, 2 neither


def metrics(ranks, listed, is_positive, is_junk, k):
    positions = clear_positions(positions_in_ranks(ranks, listed), is_positive, is_junk)
    return trapezoidal_average_precision(positions), precision_within(positions, k)


@pytest.mark.parametrize(("ranking", "positives", "junk"), CASES)
def test_small_rankings_by_hand_walk(ranking, positives, junk):
    listed = torch.arange(len(ranking))[None]
    masks = [torch.tensor([[i in chosen for i in range(len(ranking))]]) for chosen in (positives, junk)]
    ap, precision = metrics(torch.tensor(ranking)[:, None], listed, *masks, k=2)
    expected = walk(ranking, positives, junk, 2)
    assert_close(
        torch.stack([ap[0], precision[0]]), torch.tensor(expected, dtype=torch.float64), equal_nan=True
    )


@pytest.mark.parametrize("k", [1, 5, 10])
def test_random_rankings_walk_by_walk(k):
    generator = torch.Generator().manual_seed(k)
    ranks = torch.stack([torch.randperm(57, generator=generator) for _ in range(11)], dim=1)
    listed, grade = (
        torch.stack(x) for x in zip(*(random_truth(generator, 57, 13) for _ in range(11)), strict=True)
    )
    found = torch.stack(metrics(ranks, listed, grade == 0, grade == 1, k), dim=1)
    expected = [
        walk(ranks[:, q].tolist(), set(listed[q][grade[q] == 0].tolist()),
             set(listed[q][grade[q] == 1].tolist()), k)
        for q in range(11)
    ]  # fmt: skip
    assert_close(found, torch.tensor(expected, dtype=torch.float64), rtol=0, atol=1e-15, equal_nan=True)


def test_the_average_precision_of_a_short_ranking_by_hand():
    # hits first and third of two: ((1 + 1) / 2 + (1/2 + 2/3) / 2) / 2
    assert float(trapezoidal_average_precision(torch.tensor([[0, 2, NOWHERE]]))) == pytest.approx(
        19 / 24, abs=1e-15
    )


def test_precision_is_taken_within_no_more_than_the_last_positive():
    positions = torch.tensor([[0, 1, 2]])
    assert precision_within(positions, 10).tolist() == [1.0]
    assert precision_within(torch.tensor([[0, 9]]), 10).tolist() == [0.2]


def test_a_query_without_positives_has_no_metrics_even_if_no_query_has_any():
    nothing = torch.zeros(2, 0, dtype=torch.long)
    assert trapezoidal_average_precision(nothing).isnan().all()
    assert precision_within(nothing, 5).isnan().all()
    assert precision_at_recall(nothing, torch.linspace(0, 1, 3)).isnan().all()


def test_junk_ahead_moves_positives_up_and_junk_behind_does_not():
    positive, junk = torch.tensor([[True, False, False, True]]), torch.tensor([[False, True, True, False]])
    cleared = clear_positions(torch.tensor([[4, 3, 9, 20]]), positive, junk)
    assert cleared.tolist() == [[3, 18, NOWHERE, NOWHERE]]


def test_padding_is_nowhere_whatever_the_integers_of_the_ranks():
    ranks = torch.tensor([[2, 0], [1, 1], [0, 2]], dtype=torch.int32)
    assert positions_in_ranks(ranks, torch.tensor([[0, 2], [2, -1]])).tolist() == [[2, 0], [2, NOWHERE]]


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ([[0, 1, 2], [0, 1, 1]], "ranks of query 1 lack 1 of 3 images, first image 2, and repeat others"),
        ([[0, 1, 3], [0, 1, 2]], "ranks hold image 3, but 3 rows"),
        ([[0, 1, 2], [0, -1, 2]], "ranks hold image -1"),
    ],
)
def test_ranks_that_are_no_order_of_the_gallery_are_refused(columns, message):
    with pytest.raises(ValueError, match=message):
        positions_in_ranks(torch.tensor(columns).T, torch.tensor([[0], [0]]))


def counted(scores, listed, block):
    rows = listed.clamp(min=0)
    keys, order = order_keys(scores.gather(1, rows), rows).sort(dim=1)
    ahead = sum(count_ahead(keys, part, i * block) for i, part in enumerate(scores.split(block, dim=1)))
    return torch.empty_like(listed).scatter_(1, order, ahead)


@pytest.mark.parametrize("block", [1, 7, 64])
def test_positions_counted_in_blocks_are_those_of_a_stable_sort(block):
    generator = torch.Generator().manual_seed(block)
    scores = torch.randint(-3, 4, (5, 64), generator=generator) / 4  # many ties, both signs, zeros
    scores[:, ::9] *= -1  # and some zeros with a sign
    scores[0, 3], scores[1, 5], scores[2, 8] = 1e30, -1e-38, -1e30
    listed = torch.stack([torch.randperm(64, generator=generator)[:9] for _ in range(5)])
    ranks = scores.argsort(dim=1, descending=True, stable=True).T
    assert_close(counted(scores, listed, block), positions_in_ranks(ranks, listed))


def test_positions_of_random_floats_are_those_of_a_sort(noise):
    scores = noise(3, 1000)
    listed = torch.arange(1000).expand(3, -1).contiguous()
    expected = positions_in_ranks(scores.argsort(dim=1, descending=True, stable=True).T, listed)
    assert_close(counted(scores, listed, 300), expected)


def test_interpolated_precision_by_hand():
    # hits at ranks 1, 4, 5: precision 1, 2/4, 3/5, so 3/5 beyond recall 1/3
    found = precision_at_recall(torch.tensor([[0, 3, 4]]), torch.tensor([0.0, 1 / 3, 0.4, 1.0]))
    assert_close(found, torch.tensor([[1.0, 1.0, 0.6, 0.6]], dtype=torch.float64))


def test_precision_within_nothing_is_refused():
    with pytest.raises(ValueError, match="needs k >= 1, got k = 0"):
        precision_within(torch.tensor([[0]]), 0)
