"""CSA's arithmetic: against the original code's metrics, naive loops and hand-computed numbers."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.affinity import (
    affinity_features,
    contrastive_loss,
    exp_similarities,
    ranking_loss,
    reconstruction_loss,
    refined_similarities,
)

Q, K, D, L = 3, 7, 5, 4


@pytest.fixture
def shortlists(noise):
    return F.normalize(noise(Q, D, seed=1), dim=1), F.normalize(noise(Q, K, D, seed=2), dim=2)


@pytest.fixture(scope="module")
def golden(goldens):
    with np.load(goldens / "csa.npz") as file:
        return {name: torch.as_tensor(file[name]) for name in file.files if file[name].dtype.kind in "fi"}


def test_affinity_features_are_those_of_the_original_code(golden):
    candidates = golden["gallery"][golden["ranks"][:40].T]
    ours = affinity_features(golden["queries"], candidates, 32)
    assert_close(ours, golden["affinity"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("k", [0, 1, 7, 30])
def test_a_shorter_list_keeps_the_anchors_of_the_original_code(golden, k):
    ranked = golden["gallery"][golden["ranks"][:40].T]
    ours = affinity_features(golden["queries"], ranked[:, :k], 32, ranked[:, k:])
    assert_close(ours, golden["affinity"][:, : 1 + k], rtol=1e-5, atol=1e-6)


def test_affinity_features_are_all_cosines_one_by_one(shortlists):
    queries, candidates = shortlists
    affinity = affinity_features(queries, candidates, L)
    assert affinity.shape == (Q, 1 + K, L)
    for i in range(Q):
        items = [queries[i], *candidates[i]]
        for row, item in enumerate(items):
            for column, anchor in enumerate(items[:L]):
                assert float(affinity[i, row, column]) == pytest.approx(float(item @ anchor), abs=1e-6)


def test_missing_anchors_are_zero_and_change_nothing_else(shortlists):
    many, few = (affinity_features(*shortlists, n) for n in (11, L))
    assert (many[:, :, 1 + K :] == 0).all() and many.shape == (Q, 1 + K, 11)
    assert_close(many[:, :, :L], few)
    with pytest.raises(ValueError, match="n_anchors = 0"):
        affinity_features(*shortlists, 0)


def test_exp_similarities_by_hand():
    tokens = torch.tensor([[[2.0, 0.0], [0.0, 3.0], [1.0, 1.0]]])
    expected = [math.exp(c / 0.5) for c in (1.0, 0.0, 0.5**0.5)]
    assert_close(exp_similarities(tokens, 0.5), torch.tensor([expected]))
    assert_close(refined_similarities(tokens), torch.tensor([[1.0, 0.0, 0.5**0.5]]))


def test_the_losses_of_the_original_code(golden):
    relevant = golden["loss_targets"].bool()
    assert_close(
        contrastive_loss(golden["exp_similarity"], relevant), golden["contrastive_loss"], rtol=1e-6, atol=0
    )


def test_contrastive_loss_by_hand():
    similarities = torch.tensor([[1.0, 2.0, 5.0], [4.0, 1.0, 1.0]])
    relevant = torch.tensor([[True, True, False], [True, False, False]])
    expected = -(math.log(3 / 8) + math.log(4 / 6)) / 2
    assert float(contrastive_loss(similarities, relevant)) == pytest.approx(expected)


def test_reconstruction_ignores_lengths_and_is_the_chord_between_directions():
    affinity = torch.tensor([[[3.0, 4.0], [1.0, 0.0]]])
    assert float(reconstruction_loss(7 * affinity, affinity)) == pytest.approx(0.01)  # the published floor
    turned = torch.tensor([[[-4.0, 3.0], [0.0, 2.0]]])
    assert float(reconstruction_loss(turned, affinity)) == pytest.approx(2**0.5)


def test_ranking_loss_is_a_loop_over_relevant_candidates(noise):
    scores, temperature = noise(4, 6, seed=3), 0.7
    relevant = torch.tensor([[1, 0, 0, 1, 0, 0], [0, 1, 1, 1, 1, 0], [0] * 6, [1] * 6]).bool()
    losses = []
    for row in range(2):  # the last two can't teach
        others = sum(math.exp(float(s) / temperature) for s in scores[row][~relevant[row]])
        each = [math.exp(float(s) / temperature) for s in scores[row][relevant[row]]]
        losses.append(-sum(math.log(e / (e + others)) for e in each) / len(each))
    assert float(ranking_loss(scores, relevant, temperature)) == pytest.approx(sum(losses) / 2, rel=1e-5)


def test_ranking_loss_of_nothing_to_learn_is_zero_with_finite_gradients():
    scores = torch.zeros(2, 3, requires_grad=True)
    loss = ranking_loss(scores, torch.tensor([[True] * 3, [False] * 3]), 0.1)
    loss.backward()
    assert float(loss.detach()) == 0 and scores.grad is not None and (scores.grad == 0).all()
