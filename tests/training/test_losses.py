"""Losses by name against their papers' formulas, written as loops."""

import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.training import LOSSES, EmbeddingLoss

N_CLASSES, DIMS = 3, 5
LABELS = torch.tensor([0, 0, 1, 2, 2, 2, 1])


@pytest.fixture
def embeddings(noise):
    return noise(len(LABELS), DIMS, seed=1)


def made(name, **options):
    return EmbeddingLoss(name, n_classes=N_CLASSES, dims=DIMS, **options)


def value(objective, embeddings, labels=LABELS):
    (term,) = objective(embeddings, labels).values()
    return term


def unit(x):
    return F.normalize(x, dim=-1)


def proxies_of(objective):
    return next(objective.loss.parameters()).detach()


def test_proxy_anchor_is_equation_4_of_its_paper(embeddings):
    objective = made("proxy-anchor")
    s = unit(embeddings) @ unit(proxies_of(objective)).T  # (B, classes)
    positive = negative = 0.0
    for c in range(N_CLASSES):
        same = sum(math.exp(-32 * (float(s[i, c]) - 0.1)) for i in range(len(LABELS)) if LABELS[i] == c)
        other = sum(math.exp(32 * (float(s[i, c]) + 0.1)) for i in range(len(LABELS)) if LABELS[i] != c)
        positive += math.log(1 + same) / N_CLASSES  # every class is in the batch
        negative += math.log(1 + other) / N_CLASSES
    assert float(value(objective, embeddings).detach()) == pytest.approx(positive + negative, rel=1e-5)


def test_proxy_nca_plus_plus_is_a_softmax_of_squared_distances_over_all_proxies(embeddings):
    objective = made("proxy-nca++")
    squared = (unit(embeddings)[:, None] - unit(proxies_of(objective))[None]).square().sum(-1)
    expected = F.cross_entropy(-9 * squared, LABELS)
    assert_close(value(objective, embeddings).detach(), expected)


def test_triplet_counts_squared_distances_of_semi_hard_triplets(embeddings):
    d = torch.cdist(unit(embeddings), unit(embeddings)).square()
    losses = []
    for a in range(len(LABELS)):
        for p in range(len(LABELS)):
            for n in range(len(LABELS)):
                if a == p or LABELS[a] != LABELS[p] or LABELS[a] == LABELS[n]:
                    continue
                gap = float(d[a, n] - d[a, p])
                if 0 < gap <= 0.2:
                    losses.append(0.2 - gap)
    assert losses
    assert float(value(made("triplet"), embeddings).detach()) == pytest.approx(
        sum(losses) / len(losses), rel=1e-4
    )


def test_contrastive_pulls_to_zero_and_pushes_beyond_one(embeddings):
    d = torch.cdist(unit(embeddings), unit(embeddings))
    same = LABELS[:, None] == LABELS
    positive = d[same & ~torch.eye(len(LABELS), dtype=torch.bool)]
    negative = F.relu(1 - d[~same])
    expected = positive.mean() + negative[negative > 0].mean()
    assert_close(value(made("contrastive"), embeddings), expected, rtol=1e-4, atol=1e-5)


def test_supcon_averages_the_log_probability_of_each_positive(embeddings):
    logits = unit(embeddings) @ unit(embeddings).T / 0.1
    total = 0.0
    for i in range(len(LABELS)):
        others = [j for j in range(len(LABELS)) if j != i]
        log_all = torch.logsumexp(logits[i, others], 0)
        same = [j for j in others if LABELS[j] == LABELS[i]]
        total += float(-sum(logits[i, j] - log_all for j in same) / len(same)) / len(LABELS)
    assert float(value(made("supcon"), embeddings).detach()) == pytest.approx(total, rel=1e-5)


def test_arcface_adds_half_a_radian_to_the_right_angle(embeddings):
    objective = made("arcface")
    cosines = unit(embeddings) @ unit(proxies_of(objective).T).T
    angles = cosines.clamp(-1, 1).acos()
    angles[torch.arange(len(LABELS)), LABELS] += math.radians(28.6)
    assert bool((angles <= math.pi).all())  # where the paper's formula needs no exception
    assert_close(
        value(objective, embeddings), F.cross_entropy(64 * angles.cos(), LABELS), rtol=1e-4, atol=1e-4
    )


def test_soft_triple_weighs_centers_and_wants_few_of_them(embeddings):
    objective = made("soft-triple")
    centers = unit(proxies_of(objective).T).view(N_CLASSES, 10, DIMS)
    s = torch.einsum("bd,ckd->bck", unit(embeddings), centers)
    similarity = (F.softmax(s / 0.1, dim=2) * s).sum(2)
    similarity = similarity - 0.01 * F.one_hot(LABELS, N_CLASSES)
    pairs = [
        (2 - 2 * float(centers[c, i] @ centers[c, j])) ** 0.5
        for c in range(N_CLASSES) for i in range(10) for j in range(i + 1, 10)
    ]  # fmt: skip
    spread = sum(pairs) / (N_CLASSES * 10 * 9)  # equation 12 of the paper
    expected = F.cross_entropy(20 * similarity, LABELS) + 0.2 * spread
    assert_close(value(objective, embeddings).detach(), expected, rtol=1e-4, atol=1e-4)


def test_multi_similarity_is_equation_15_over_the_mined_pairs(embeddings):
    s = unit(embeddings) @ unit(embeddings).T
    total = 0.0
    for i in range(len(LABELS)):
        positives = [float(s[i, j]) for j in range(len(LABELS)) if j != i and LABELS[j] == LABELS[i]]
        negatives = [float(s[i, j]) for j in range(len(LABELS)) if LABELS[j] != LABELS[i]]
        hard_positives = [x for x in positives if x - 0.1 < max(negatives)]
        hard_negatives = [x for x in negatives if x + 0.1 > min(positives)]
        total += math.log(1 + sum(math.exp(-2 * (x - 0.5)) for x in hard_positives)) / 2
        total += math.log(1 + sum(math.exp(50 * (x - 0.5)) for x in hard_negatives)) / 50
    assert float(value(made("multi-similarity"), embeddings).detach()) == pytest.approx(
        total / len(LABELS), rel=1e-4
    )


def test_margin_has_a_boundary_for_each_class_between_its_triplets(noise):
    embeddings = noise(len(LABELS), DIMS, seed=2)
    objective = made("margin")
    with torch.no_grad():
        objective.loss.beta += torch.tensor([0.0, -0.1, 0.05])
    torch.manual_seed(3)
    triplets = objective.miner(embeddings, LABELS)
    d = torch.cdist(unit(embeddings), unit(embeddings))
    total, active = 0.0, 0
    for a, p, n in zip(*(t.tolist() for t in triplets), strict=True):
        boundary = (1.2, 1.1, 1.25)[int(LABELS[a])]
        parts = max(0.0, float(d[a, p]) - boundary + 0.2), max(0.0, boundary - float(d[a, n]) + 0.2)
        total, active = total + sum(parts), active + sum(part > 0 for part in parts)
    torch.manual_seed(3)  # the same negatives
    loss = value(objective, embeddings)
    assert float(loss.detach()) == pytest.approx(total / active, rel=1e-5)
    loss.backward()
    assert float(objective.loss.beta.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_is_finite_and_pulls_on_the_embeddings(name, embeddings):
    torch.manual_seed(0)
    embeddings.requires_grad_()
    loss = value(made(name), embeddings)
    loss.backward()
    assert loss.ndim == 0 and bool(loss.isfinite())
    assert float(embeddings.grad.norm()) > 0 and bool(embeddings.grad.isfinite().all())


@pytest.mark.parametrize("name", [name for name, recipe in LOSSES.items() if recipe.takes_memory])
def test_a_memory_compares_with_past_batches(name, noise):
    objective = made(name, memory=14)
    torch.manual_seed(0)
    value(objective, noise(7, DIMS, seed=1))
    second = noise(7, DIMS, seed=2)
    torch.manual_seed(0)
    with_past = value(objective, second)
    torch.manual_seed(0)
    alone = value(made(name), second)
    assert bool(with_past.isfinite()) and not torch.equal(with_past, alone)


def test_how_full_a_memory_is_comes_back_with_its_state(noise):
    objective = made("contrastive", memory=14)
    value(objective, noise(7, DIMS, seed=1))
    other = made("contrastive", memory=14)
    other.load_state_dict(objective.state_dict())
    second = noise(7, DIMS, seed=2)
    assert_close(value(other, second), value(objective, second), rtol=0, atol=0)


def test_a_memory_is_refused_where_nothing_is_compared():
    with pytest.raises(ValueError, match="takes no memory; multi-similarity, triplet"):
        made("arcface", memory=8)


def test_proxies_follow_from_the_seed():
    first, again, other = (proxies_of(made("proxy-anchor", seed=s)) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
