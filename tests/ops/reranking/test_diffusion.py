import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.reranking import diffuse, diffusion_graph, diffusion_removals, query_seeds


def unit(n, width, noise, seed=0):
    return F.normalize(noise(n, width, seed=seed) + 0.5, dim=1).double()


def naive_graph(x, n, power):
    """Affinity of mutual neighbors, one pair after the other, then D^-1/2 A D^-1/2."""
    k = len(x)
    cosines = x @ x.T
    near = [sorted((j for j in range(k) if j != i), key=lambda j, i=i: -cosines[i, j])[:n] for i in range(k)]
    a = np.zeros((k, k))
    for i in range(k):
        for j in near[i]:
            if i in near[j]:
                a[i, j] = max(cosines[i, j], 0) ** power
    degree = a.sum(1)
    for i in range(k):
        for j in range(k):
            if a[i, j]:
                a[i, j] /= math.sqrt(degree[i] * degree[j])
    return a


def test_graph_equals_the_pairs_of_the_paper(noise):
    x = unit(19, 7, noise)
    expected = torch.from_numpy(naive_graph(x.numpy(), 5, 3.0))
    assert_close(diffusion_graph(x, n=5, power=3.0), expected)


def test_diffusion_equals_the_dense_inverse_and_the_iteration(noise):
    x, query = unit(19, 7, noise), unit(1, 7, noise, seed=1)[0]
    graph, seeds = diffusion_graph(x, n=5, power=3.0), query_seeds(x @ query, n=4, power=3.0)
    state = diffuse(graph, seeds, alpha=0.9)
    inverse = np.linalg.inv(np.eye(19) - 0.9 * graph.numpy())
    assert_close(state, torch.from_numpy(0.1 * inverse @ seeds.numpy()))
    iterated = torch.zeros_like(seeds)
    for _ in range(500):
        iterated = 0.9 * graph @ iterated + 0.1 * seeds
    assert_close(state, iterated)


def test_seeds_are_the_nearest_of_the_query():
    seeds = query_seeds(torch.tensor([0.5, 0.9, 0.5, -0.2]), n=2, power=2.0)
    assert_close(seeds, torch.tensor([0.25, 0.81, 0.0, 0.0]))


def test_a_chain_that_turns_away_is_found_where_cosine_finds_the_bystander():
    """Items every 20 degrees up to 120; a lone bystander at 60 degrees in another plane."""
    angles = torch.deg2rad(torch.arange(1, 7) * 20.0)
    chain = torch.stack([angles.cos(), angles.sin(), torch.zeros(6)], dim=1)
    bystander = torch.tensor([[0.5, 0.0, 0.75**0.5]])
    x = torch.cat([bystander, chain])
    cosines = x @ torch.eye(3)[0]
    assert cosines[0] > cosines[4:].max()
    seeds = query_seeds(cosines, n=2, power=3.0)
    state = diffuse(diffusion_graph(x, n=2, power=3.0), seeds, alpha=0.99)
    assert (state[1:] > state[0]).all()


def test_permuted_candidates_get_the_same_scores(noise):
    x, order = unit(19, 7, noise), torch.randperm(19, generator=torch.Generator().manual_seed(0))
    graph, permuted = (diffusion_graph(v, n=5, power=3.0) for v in (x, x[order]))
    seeds = query_seeds(x @ x[3], n=4, power=3.0)
    assert_close(diffuse(permuted, seeds[order], alpha=0.9), diffuse(graph, seeds, alpha=0.9)[order])


def test_removals_equal_solving_again_without_the_item(noise):
    x = unit(11, 7, noise)
    graph, seeds = diffusion_graph(x, n=4, power=3.0), query_seeds(x @ x[0], n=3, power=3.0)
    removals, state = diffusion_removals(graph, seeds, alpha=0.9), diffuse(graph, seeds, alpha=0.9)
    for j in range(11):
        kept = torch.arange(11) != j
        without = diffuse(graph[kept][:, kept], seeds[kept], alpha=0.9)
        assert_close(removals[kept, j], state[kept] - without)


def test_a_single_item_and_items_at_right_angles_stay_finite():
    for x in (torch.eye(3)[:1], torch.eye(3)):
        graph = diffusion_graph(x, n=5, power=3.0)
        assert not graph.any()
        assert_close(diffuse(graph, torch.ones(len(x)), alpha=0.9), torch.full((len(x),), 0.1))


def test_alpha_of_one_is_refused():
    with pytest.raises(ValueError, match="below 1"):
        diffuse(torch.zeros(2, 2), torch.ones(2), alpha=1.0)
