import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.attribution import (
    cell_similarity,
    mutual_best_matches,
    pair_maps,
    similarity_maps,
)

H, W, N, M, D = 3, 5, 15, 8, 7


@pytest.fixture
def shares(noise):
    return noise(N, D)


@pytest.fixture
def residual(noise):
    return noise(D, seed=1)


@pytest.mark.parametrize("pair", [0, 1, 2])
@pytest.mark.parametrize("side", ["a", "b"])
def test_maps_equal_those_of_the_published_code(pair, side, goldens):
    golden = np.load(goldens / "similarity_visualization.npz")
    conv = {s: torch.from_numpy(golden[f"conv_{s}_{pair}"]) for s in "ab"}
    other = F.normalize(conv["b" if side == "a" else "a"].mean(0), dim=0)
    shares = conv[side] / len(conv[side])
    maps = similarity_maps(shares, torch.zeros_like(other), other[None])
    expected = torch.from_numpy(golden[f"map_{side}_{pair}"])
    assert_close(maps[0].view_as(expected), expected, rtol=1e-9, atol=1e-12)


def test_map_equals_a_double_loop_over_pairs_of_cells(noise):
    a, b = noise(N, D), noise(M, D, seed=1)
    norms = a.mean(0).norm() * b.mean(0).norm()
    expected = torch.zeros(N)
    for i in range(N):
        for j in range(M):
            expected[i] += a[i] @ b[j] / (N * M * norms)
    maps = similarity_maps(a / N, torch.zeros(D), F.normalize(b.mean(0, keepdim=True), dim=1))
    assert_close(maps[0], expected)


def test_a_map_and_the_residual_sum_to_the_cosine(shares, residual, noise):
    matches = F.normalize(noise(4, D, seed=2), dim=1)
    whole = shares.sum(0) + residual
    missed = matches @ residual / whole.norm()
    cosines = torch.cosine_similarity(whole[None], matches)
    assert_close(similarity_maps(shares, residual, matches).sum(1) + missed, cosines)


def test_maps_of_many_matches_equal_single_ones(shares, residual, noise):
    matches = F.normalize(noise(4, D, seed=2), dim=1)
    single = [similarity_maps(shares, residual, match[None])[0] for match in matches]
    assert_close(similarity_maps(shares, residual, matches), torch.stack(single))


def test_map_is_the_gradient_times_the_input_for_affine_embeddings(noise):
    features, weight = noise(N, D), noise(D, D, seed=1)
    match = F.normalize(noise(1, D, seed=2), dim=1)
    factor = torch.ones(N, requires_grad=True)  # one knob a cell
    embedding = (factor[:, None] * features).mean(0) @ weight.T
    norm = embedding.detach().norm()  # the norm that occurred
    (embedding @ match[0] / norm).backward()
    maps = similarity_maps(features @ weight.T / N, torch.zeros(D), match)
    assert_close(maps[0], factor.grad)


def test_a_planted_cell_is_found_at_its_row_and_column():
    shares = torch.zeros(N, D)
    shares[:, 0] = 0.1
    shares[1 * W + 4, 3] = 1.0
    match = torch.eye(D)[3:4]
    heat = similarity_maps(shares, torch.zeros(D), match).view(H, W)
    assert divmod(int(heat.argmax()), W) == (1, 4)


def test_the_map_of_an_embedding_of_zeros_is_zero(noise):
    maps = similarity_maps(torch.zeros(N, D), torch.zeros(D), F.normalize(noise(2, D), dim=1))
    assert torch.equal(maps, torch.zeros(2, N))


def test_affinity_rows_and_columns_sum_to_the_two_maps(noise):
    query, match = noise(N, D), noise(M, D, seed=1)
    query_total, match_total = query.sum(0), match.sum(0)
    pairs = cell_similarity(query, match, query_total.norm(), match_total.norm())
    zero = torch.zeros(D)
    query_map = similarity_maps(query, zero, F.normalize(match_total, dim=0)[None])[0]
    match_map = similarity_maps(match, zero, F.normalize(query_total, dim=0)[None])[0]
    assert_close(pairs.sum(1), query_map)
    assert_close(pairs.sum(0), match_map)
    assert_close(pairs.sum(), torch.cosine_similarity(query_total, match_total, dim=0))


def test_affinity_with_an_embedding_of_zeros_is_zero(noise):
    pairs = cell_similarity(torch.zeros(N, D), noise(M, D), torch.tensor(0.0), torch.tensor(2.0))
    assert torch.equal(pairs, torch.zeros(N, M))


def test_a_planted_permutation_is_found():
    order = torch.randperm(M, generator=torch.Generator().manual_seed(0))
    similarities = 0.1 * torch.rand(M, M, generator=torch.Generator().manual_seed(1))
    strengths = torch.linspace(0.5, 1.0, M)
    similarities[torch.arange(M), order] = strengths
    pairs = mutual_best_matches(similarities)
    expected = torch.stack([torch.arange(M), order], dim=1).flip(0)  # strongest first
    assert torch.equal(pairs, expected)


def test_mutual_matches_equal_a_double_loop(noise):
    similarities = noise(N, M)
    expected = {
        (i, j)
        for i in range(N)
        for j in range(M)
        if similarities[i, j] > 0
        and similarities[i, j] >= max(similarities[i].max(), similarities[:, j].max())
    }
    assert {tuple(pair) for pair in mutual_best_matches(similarities).tolist()} == expected


def test_cells_that_pull_apart_do_not_match():
    assert mutual_best_matches(torch.tensor([[-0.5, -0.9], [-0.7, 0.0]])).shape == (0, 2)


def test_equal_affinities_go_to_the_first_cells():
    assert mutual_best_matches(torch.ones(3, 4)).tolist() == [[0, 0]]


@pytest.mark.parametrize("index", [0, 1, 2])
def test_pair_maps_equal_the_published_maps(index, goldens):
    golden = np.load(goldens / "similarity_visualization.npz")
    query, match = (torch.from_numpy(golden[f"conv_{side}_{index}"]) for side in "ab")
    for ours, side in zip(pair_maps(query, match), "ab", strict=True):
        expected = torch.from_numpy(golden[f"map_{side}_{index}"]).flatten()
        assert_close(ours, expected, rtol=1e-9, atol=1e-12)
