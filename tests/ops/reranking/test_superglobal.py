import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.reranking import refinement_weights, superglobal_scores, superglobal_terms
from lookalike.rerankers import SuperGlobal, first_stage, full_ranks

K, D = 13, 7


def unit(*shape, noise, seed=0):
    return F.normalize(noise(*shape, seed=seed), dim=-1)


@pytest.fixture
def query(noise):
    return unit(1, D, noise=noise, seed=1)[0]


@pytest.fixture
def candidates(noise):
    return unit(K, D, noise=noise)


def naive_refined(candidates, n, beta):
    refined = []
    for i, candidate in enumerate(candidates):
        order = (candidates @ candidate).argsort(descending=True).tolist()
        total, weights = candidate.clone(), 1.0
        for j in [j for j in order if j != i][:n]:
            weight = beta * float(candidates[j] @ candidate)
            total, weights = total + weight * candidates[j], weights + weight
        refined.append(total / weights)
    return torch.stack(refined)


def naive_scores(query, candidates, n, beta):
    refined = naive_refined(candidates, n, beta)
    best = (refined @ query).argsort(descending=True)[: n + 1]
    largest = torch.tensor([max(float(refined[i, d]) for i in best) for d in range(refined.shape[1])])
    return torch.stack([(query @ r + largest @ r) / 2 for r in refined])


@pytest.mark.parametrize(("n", "beta"), [(1, 0.5), (4, 0.15), (9, 0.3), (50, 0.15)])
def test_scores_equal_the_loop_of_the_paper(query, candidates, n, beta):
    expected = naive_scores(query, candidates, n, beta)
    assert_close(superglobal_scores(query, candidates, n=n, beta=beta), expected)


def test_two_candidates_by_hand():
    query, candidates = torch.tensor([1.0, 0.0]), torch.tensor([[0.8, 0.6], [0.0, 1.0]])
    weights = torch.tensor([[1.0, 0.3], [0.3, 1.0]]) / 1.3  # beta 0.5 times the cosine 0.6
    assert_close(refinement_weights(candidates, n=1, beta=0.5), weights)
    first = torch.tensor([0.8, 0.9]) / 1.3
    second = torch.tensor([0.24, 1.18]) / 1.3
    largest = torch.tensor([0.8, 1.18]) / 1.3
    expected = torch.stack([(r[0] + largest @ r) / 2 for r in (first, second)])
    assert_close(superglobal_scores(query, candidates, n=1, beta=0.5), expected)


@pytest.mark.parametrize(("n", "beta"), [(1, 0.5), (4, 0.15), (50, 0.15)])
def test_terms_sum_to_the_score(query, candidates, n, beta):
    scores = superglobal_scores(query, candidates, n=n, beta=beta)
    for position in range(K):
        terms = superglobal_terms(query, candidates, position, n=n, beta=beta)
        assert_close(terms.sum(), scores[position], rtol=1e-6, atol=1e-6)


def test_terms_are_parts_of_the_refined_candidate_and_dimensions_of_the_maximum(query, candidates):
    n, beta, position = 3, 0.4, 8
    refined, weights = naive_refined(candidates, n, beta), refinement_weights(candidates, n=n, beta=beta)
    best = (refined @ query).argsort(descending=True)[: n + 1].tolist()
    expected = weights[position] * (candidates @ query) / 2
    for d in range(D):
        winner = max(best, key=lambda i: float(refined[i, d]))
        expected[winner] += refined[winner, d] * refined[position, d] / 2
    assert_close(superglobal_terms(query, candidates, position, n=n, beta=beta), expected)


def test_equal_maxima_share_their_amount(query):
    twins = torch.eye(3, D)[[0, 0, 1]]
    terms = superglobal_terms(twins[0], twins, 0, n=1, beta=1.0)
    assert_close(terms[0], terms[1])
    assert_close(terms.sum(), superglobal_scores(twins[0], twins, n=1, beta=1.0)[0])


def test_a_candidate_among_opposites_stays_itself():
    candidates = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]])
    weights = refinement_weights(candidates, n=3, beta=0.5)  # 1 - 1.5 is below zero
    assert_close(weights[0], torch.eye(4)[0])
    assert_close(weights.sum(1), torch.ones(4))


@pytest.mark.parametrize("settings", ["published", "short"])
def test_ranks_and_scores_are_those_of_the_original_code(goldens, settings):
    with np.load(goldens / "superglobal.npz") as file:
        golden = dict(file)
    m, n, beta = golden[f"{settings}_settings"].tolist()
    queries, gallery = (torch.from_numpy(golden[name]) for name in ("queries", "gallery"))
    before = first_stage(queries, gallery, k=len(gallery))
    after = SuperGlobal(n=int(n), beta=beta, n_first=int(m))(before)
    assert full_ranks(before, after).tolist() == golden[f"{settings}_ranks"].tolist()
    assert full_ranks(before, before).tolist() != golden[f"{settings}_ranks"].tolist()
    expected = torch.from_numpy(golden[f"{settings}_scores"])
    assert_close(after.scores[:, : expected.shape[1]], expected)
