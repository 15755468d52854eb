import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops import propagation

B, N, C, D = 2, 6, 5, 3


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def shares(request, noise):
    """Shares of N cells and a residual; one channel sums to exactly zero."""
    shares = noise(B, N + 1, C, dtype=request.param)
    shares[:, :, 1] = 0.0
    return shares


def total(shares):
    return shares.sum(1)


def test_without_a_residual_the_last_row_is_zero(noise):
    shares = noise(B, N, C)
    rows = propagation.with_residual(shares)
    assert torch.equal(rows[:, :-1], shares)
    assert torch.equal(rows[:, -1], torch.zeros(B, C))


def test_a_given_residual_is_the_last_row(noise):
    residual = noise(B, C, seed=1)
    assert torch.equal(propagation.with_residual(noise(B, N, C), residual)[:, -1], residual)


def test_a_constant_is_spread_over_the_cells_and_not_the_residual(shares, noise):
    constant = noise(C, seed=2, dtype=shares.dtype)
    spread = propagation.spread(shares, constant)
    assert_close(total(spread), total(shares) + constant)
    assert_close(spread[:, 0] - shares[:, 0], (constant / N).expand(B, C))
    assert torch.equal(spread[:, -1], shares[:, -1])


def test_affine_equals_torch(shares, noise):
    weight, bias = noise(D, C, seed=1, dtype=shares.dtype), noise(D, seed=2, dtype=shares.dtype)
    assert_close(total(propagation.affine(shares, weight, bias)), F.linear(total(shares), weight, bias))
    assert_close(propagation.affine(shares, weight), shares @ weight.T)


def test_layer_norm_equals_torch(shares, noise):
    weight, bias = noise(C, seed=1, dtype=shares.dtype), noise(C, seed=2, dtype=shares.dtype)
    expected = F.layer_norm(total(shares), (C,), weight, bias, eps=1e-3)
    assert_close(total(propagation.layer_norm(shares, weight, bias, eps=1e-3)), expected)


def test_layer_norm_without_factors_equals_torch(shares):
    assert_close(total(propagation.layer_norm(shares)), F.layer_norm(total(shares), (C,)))


def test_rms_norm_equals_torch(shares, noise):
    weight = noise(C, seed=1, dtype=shares.dtype)
    expected = F.rms_norm(total(shares), (C,), weight, eps=1e-3)
    assert_close(total(propagation.rms_norm(shares, weight, eps=1e-3)), expected)


def test_l2_norm_equals_torch(shares):
    assert_close(total(propagation.l2_norm(shares)), F.normalize(total(shares), dim=1))


def test_l2_norm_of_a_zero_vector_is_zero():
    assert torch.equal(propagation.l2_norm(torch.zeros(1, N + 1, C)), torch.zeros(1, N + 1, C))


def test_scale_by_hand():
    shares = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [0.5, 0.5]]])  # two cells and the residual
    scaled = propagation.scale(shares, torch.tensor([2.0, 10.0]), torch.tensor([1.0, -2.0]))
    assert_close(scaled, torch.tensor([[[2.5, 19.0], [6.5, 39.0], [1.0, 5.0]]]))


@pytest.mark.parametrize(
    "activation", [torch.relu, F.gelu, F.silu, torch.tanh, torch.sigmoid, F.softplus, F.elu, F.leaky_relu]
)
def test_gate_equals_the_activation(activation, shares):
    assert_close(total(propagation.gate(shares, activation)), activation(total(shares)))


def test_gate_by_hand_frozen_at_what_occurred():
    shares = torch.tensor([[[3.0, -3.0], [-1.0, 1.0], [0.0, 0.0]]])  # totals 2 and -2
    assert_close(propagation.gate(shares, torch.relu), torch.tensor([[[3.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]]))


def test_gate_is_closed_where_parts_cancel():
    shares = torch.tensor([[[3.0], [-3.0], [0.0]]])
    assert torch.equal(propagation.gate(shares, torch.relu), torch.zeros(1, 3, 1))


def test_gate_of_an_activation_in_cell_leaves_the_parts_alone(shares):
    before = shares.clone()
    gated = propagation.gate(shares, nn.ReLU(inplace=True))
    assert torch.equal(shares, before)
    assert_close(total(gated), total(shares).relu())


def test_every_passage_leaves_its_arguments_alone(shares):
    before = shares.clone()
    ones = torch.ones(C, dtype=shares.dtype)
    propagation.layer_norm(shares, ones, ones)
    propagation.rms_norm(shares, ones)
    propagation.l2_norm(shares)
    propagation.scale(shares, ones, ones)
    propagation.affine(shares, torch.ones(D, C, dtype=shares.dtype), torch.ones(D, dtype=shares.dtype))
    assert torch.equal(shares, before)
