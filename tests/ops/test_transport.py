import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.transport import transport_plan, transport_votes

N, M, D = 6, 11, 4


@pytest.fixture
def similarities(noise):
    return 0.5 * noise(N, M)


def naive_plan(similarities, dustbin, sharpness, n_iterations=2000):
    """Sinkhorn's algorithm on the kernel itself, one number at a time."""
    n, m = similarities.shape
    kernel = [[math.exp(sharpness * float(x)) for x in (*row, dustbin)] for row in similarities]
    kernel.append([math.exp(sharpness * dustbin)] * (m + 1))
    rows, columns = [1.0] * (n + 1), [1.0] * (m + 1)
    for _ in range(n_iterations):
        for i in range(n + 1):
            mass = m if i == n else 1
            rows[i] = mass / sum(kernel[i][j] * columns[j] for j in range(m + 1))
        for j in range(m + 1):
            mass = n if j == m else 1
            columns[j] = mass / sum(kernel[i][j] * rows[i] for i in range(n + 1))
    return torch.tensor([[rows[i] * kernel[i][j] * columns[j] for j in range(m)] for i in range(n)])


@pytest.mark.parametrize(("dustbin", "sharpness"), [(0.3, 4.0), (0.5, 10.0), (-1.0, 3.0)])
def test_the_plan_equals_the_naive_algorithm(similarities, dustbin, sharpness):
    plan = transport_plan(similarities, dustbin=dustbin, sharpness=sharpness)
    assert_close(plan, naive_plan(similarities, dustbin, sharpness), atol=2e-6, rtol=1e-5)


@pytest.mark.parametrize("similarity", [0.9, 0.5, 0.2])
def test_one_cell_against_one_goes_to_its_dustbin_by_a_logistic_curve(similarity):
    """Of a 2 x 2 plan with all sums one, p^2 / (1 - p)^2 is the cross ratio of the kernel."""
    plan = transport_plan(torch.tensor([[similarity]]), dustbin=0.5, sharpness=20.0)
    assert float(plan) == pytest.approx(1 / (1 + math.exp(-20 * (similarity - 0.5) / 2)), abs=1e-5)


def test_rows_and_columns_sum_to_one_at_most(similarities):
    plan = transport_plan(similarities, dustbin=0.4, sharpness=20.0)
    assert (plan.sum(0) <= 1 + 1e-5).all() and (plan.sum(1) <= 1 + 1e-5).all() and (plan >= 0).all()
    generous = transport_plan(similarities, dustbin=-5.0, sharpness=20.0)
    assert_close(generous.sum(1), torch.ones(N), atol=1e-3, rtol=0)  # every row finds one of more columns


def test_exchanged_images_have_the_transposed_plan(similarities):
    plan = transport_plan(similarities, dustbin=0.4, sharpness=20.0)
    exchanged = transport_plan(similarities.T.contiguous(), dustbin=0.4, sharpness=20.0)
    assert_close(plan, exchanged.T, atol=1e-5, rtol=0)


def test_votes_are_the_probability_of_the_likeliest_partner_of_each_cell(noise):
    query, match = noise(N, D), noise(M, D, seed=1)
    cosines = F.normalize(query, dim=1) @ F.normalize(match, dim=1).T
    plan = transport_plan(cosines, dustbin=0.5, sharpness=20.0)
    expected = torch.zeros(N, M)
    for i in range(N):
        expected[i, plan[i].argmax()] += plan[i].max() / (N + M)
    for j in range(M):
        expected[plan[:, j].argmax(), j] += plan[:, j].max() / (N + M)
    assert_close(transport_votes(query, match, dustbin=0.5, sharpness=20.0), expected)


def test_votes_of_an_image_for_itself_name_each_cell_and_sum_to_nearly_one(noise):
    cells = torch.eye(7)
    votes = transport_votes(cells, cells.roll(3, dims=0), dustbin=0.5, sharpness=60.0)
    assert votes.argmax(1).tolist() == [3, 4, 5, 6, 0, 1, 2]
    assert float(votes.sum()) == pytest.approx(1.0, abs=2e-3)  # slow to settle without rivals


def test_cells_of_zeros_change_nothing(noise):
    query, match = noise(N, D), noise(M, D, seed=1)
    with_zeros = torch.cat([query[:2], torch.zeros(3, D), query[2:]])
    votes = transport_votes(query, match, dustbin=0.5, sharpness=20.0)
    padded = transport_votes(with_zeros, match, dustbin=0.5, sharpness=20.0)
    assert_close(padded[[0, 1, 5, 6, 7, 8]], votes)
    assert not padded[2:5].any()
    assert not transport_votes(torch.zeros(N, D), match, dustbin=0.5, sharpness=20.0).any()
