import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.reranking import (
    k_reciprocal_encoding,
    k_reciprocal_removals,
    k_reciprocal_scores,
    node_distances,
)


def clustered(noise, n, width=9, n_clusters=4, seed=0):
    centers = noise(n_clusters, width, seed=seed)
    return F.normalize(centers[torch.arange(n) % n_clusters] + 0.7 * noise(n, width, seed=seed + 1), dim=1)


def naive_distances(nodes):
    """Squared Euclidean distance over the largest of each row, as the authors' code has it."""
    n = len(nodes)
    distances = np.array([[np.sum((nodes[i] - nodes[j]) ** 2) for j in range(n)] for i in range(n)])
    return distances / distances.max(axis=1, keepdims=True)


def naive_final_distances(nodes, k1, k2, lam):
    """The paper, set by set: equations 3, 4, 7, 10, 11 and 12, for probe 0."""
    d = naive_distances(nodes)
    n = len(nodes)
    ranks = [sorted(range(n), key=lambda j, i=i: (j != i, d[i, j], j)) for i in range(n)]

    def neighbors(i, k):
        return set(ranks[i][: k + 1])

    def reciprocal(i, k):
        return {j for j in neighbors(i, k) if i in neighbors(j, k)}

    encoding = np.zeros((n, n))
    for i in range(n):
        members = reciprocal(i, k1)
        expanded = set(members)
        for q in members:
            half = reciprocal(q, round(k1 / 2))
            if len(members & half) > 2 / 3 * len(half):
                expanded |= half
        for j in expanded:
            encoding[i, j] = np.exp(-d[i, j])
        encoding[i] /= encoding[i].sum()
    averaged = np.array([np.mean([encoding[j] for j in ranks[i][:k2]], axis=0) for i in range(n)])
    final = []
    for g in range(1, n):
        low = sum(min(averaged[0, j], averaged[g, j]) for j in range(n))
        high = sum(max(averaged[0, j], averaged[g, j]) for j in range(n))
        final.append((1 - lam) * (1 - low / high) + lam * d[0, g])
    return averaged, np.array(final)


@pytest.mark.parametrize(
    ("k1", "k2", "lam"), [(7, 3, 0.3), (5, 1, 0.0), (20, 6, 0.3), (1, 1, 0.5), (60, 6, 0.3)]
)
@pytest.mark.parametrize("seed", [0, 3])
def test_scores_equal_the_sets_of_the_paper(noise, k1, k2, lam, seed):
    nodes = clustered(noise, 38, seed=seed).double()
    encoding, distances = naive_final_distances(nodes.numpy(), k1, k2, lam)
    scores = k_reciprocal_scores(nodes[0], nodes[1:], k1=k1, k2=k2, mix=lam)
    assert_close(scores, torch.from_numpy(1 - distances))
    ours = k_reciprocal_encoding(node_distances(nodes[0], nodes[1:]), k1=k1, k2=k2)
    assert_close(ours, torch.from_numpy(encoding))


def test_permuted_candidates_get_the_same_scores(noise):
    nodes = clustered(noise, 30)
    order = torch.randperm(29, generator=torch.Generator().manual_seed(0))
    options = {"k1": 6, "k2": 3, "mix": 0.3}
    permuted = k_reciprocal_scores(nodes[0], nodes[1:][order], **options)
    assert_close(permuted, k_reciprocal_scores(nodes[0], nodes[1:], **options)[order])


def test_a_mutual_neighbor_beats_a_closer_one_that_belongs_elsewhere(noise):
    """A candidate amid a crowd of its own is closer by cosine than one of the query's own group."""
    query, theirs, ours = torch.eye(6)[:3]
    intruder = F.normalize(query + 0.45 * theirs, dim=0)
    crowd = F.normalize(query + 0.6 * theirs + 0.02 * noise(8, 6), dim=1)
    group = F.normalize(query + 0.5 * ours + 0.02 * noise(5, 6, seed=1), dim=1)
    candidates = torch.cat([intruder[None], group, crowd])
    assert (candidates @ query).argmax() == 0
    scores = k_reciprocal_scores(query, candidates, k1=5, k2=1, mix=0.0)
    assert (scores[1:6] > scores[0]).all()


def test_identical_items_are_finite_and_equal():
    scores = k_reciprocal_scores(torch.eye(3)[0], torch.eye(3)[[0] * 9], k1=4, k2=2, mix=0.3)
    assert torch.isfinite(scores).all()


def test_removals_are_differences_of_jaccard_similarities(noise):
    nodes = clustered(noise, 20).double()
    encoding = k_reciprocal_encoding(node_distances(nodes[0], nodes[1:]), k1=5, k2=2)
    removals = k_reciprocal_removals(encoding, 4)

    def jaccard(columns):
        a, b = encoding[0, columns], encoding[4, columns]
        return torch.minimum(a, b).sum() / torch.maximum(a, b).sum()

    every = torch.arange(20)
    for j in range(20):
        assert_close(removals[j], jaccard(every) - jaccard(every[every != j]))
