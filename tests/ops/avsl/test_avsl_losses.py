import math

import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.avsl import hard_triplets, margin_loss, proxy_anchor_loss


def naive_proxy_anchor(distances, labels, proxy_labels, positive, negative, sharpness):
    pulled, pushed = [], []
    for p, label in enumerate(proxy_labels.tolist()):
        own = [float(d[p]) for d, y in zip(distances, labels.tolist(), strict=True) if y == label]
        rest = [float(d[p]) for d, y in zip(distances, labels.tolist(), strict=True) if y != label]
        if own:
            pulled.append(math.log(1 + sum(math.exp(sharpness * (d - positive)) for d in own)))
        pushed.append(math.log(1 + sum(math.exp(-sharpness * (d - negative)) for d in rest)))
    return sum(pulled) / max(1, len(pulled)) + sum(pushed) / len(pushed)


def test_proxy_anchor_is_the_formula(noise):
    distances, labels = noise(6, 4).abs(), torch.tensor([0, 0, 1, 3, 3, 3])  # no image of proxy 2
    loss = proxy_anchor_loss(distances, labels, torch.arange(4), positive_margin=0.7, negative_margin=1.1,
                             sharpness=3.0)  # fmt: skip
    expected = naive_proxy_anchor(distances, labels, torch.arange(4), 0.7, 1.1, 3.0)
    assert_close(loss, torch.tensor(expected))


def test_proxy_anchor_stays_finite_where_exponentials_do_not():
    loss = proxy_anchor_loss(torch.tensor([[90.0, 0.0]]), torch.tensor([0]), torch.arange(2), sharpness=16.0)
    assert_close(loss, torch.tensor(16 * (90 - 1.8) + 16 * 2.2 / 2))


def test_hard_triplets_by_hand():
    distances = torch.tensor([
        [0.0, 0.9, 0.6, 0.3, 1.5],
        [0.9, 0.0, 0.7, 1.2, 0.8],
        [0.6, 0.7, 0.0, 0.6, 1.1],
        [0.3, 1.2, 0.6, 0.0, 0.9],
        [1.5, 0.8, 1.1, 0.9, 0.0],
    ])  # fmt: skip
    labels = torch.tensor([0, 0, 1, 1, 2])
    # image 4 is alone in its class; image 0 has a negative (3) nearer than the cutoff: it becomes 0.5
    triplets = hard_triplets(distances, labels, cutoff=0.5, generator=torch.Generator().manual_seed(0))
    assert triplets.tolist() == [[0, 1, 3], [1, 0, 2], [2, 3, 0], [3, 2, 0]]


@pytest.mark.parametrize("labels", [[0, 1, 2], [0, 0, 0]])
def test_without_pairs_there_are_no_triplets_and_no_loss(labels, noise):
    distances = noise(3, 3).abs()
    triplets = hard_triplets(distances, torch.tensor(labels))
    assert triplets.shape == (0, 3)
    assert margin_loss(distances, triplets, torch.full((3,), 1.2)) == 0


def test_margin_loss_by_hand():
    distances = torch.tensor([[0.0, 1.3, 1.1], [1.3, 0.0, 2.0], [1.1, 2.0, 0.0]])
    triplets = torch.tensor([[0, 1, 2], [1, 0, 2]])
    # boundary 1.2, margin 0.2: positives 0.3 and 0.3; negatives 0.3 (1.1) and none (2.0)
    assert_close(margin_loss(distances, triplets, torch.full((3,), 1.2)), torch.tensor(0.3))
