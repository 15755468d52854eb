import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops import passage

B, N, C, D = 2, 6, 5, 3


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def parts(request, noise):
    """Shares of N cells and a residual; one channel sums to exactly zero."""
    parts = noise(B, N + 1, C, dtype=request.param)
    parts[:, :, 1] = 0.0
    return parts


def total(parts):
    return parts.sum(1)


def test_without_a_residual_the_last_row_is_zero(noise):
    shares = noise(B, N, C)
    parts = passage.with_residual(shares)
    assert torch.equal(parts[:, :-1], shares)
    assert torch.equal(parts[:, -1], torch.zeros(B, C))


def test_a_given_residual_is_the_last_row(noise):
    residual = noise(B, C, seed=1)
    assert torch.equal(passage.with_residual(noise(B, N, C), residual)[:, -1], residual)


def test_a_constant_is_spread_over_the_cells_and_not_the_residual(parts, noise):
    constant = noise(C, seed=2, dtype=parts.dtype)
    spread = passage.spread(parts, constant)
    assert_close(total(spread), total(parts) + constant)
    assert_close(spread[:, 0] - parts[:, 0], (constant / N).expand(B, C))
    assert torch.equal(spread[:, -1], parts[:, -1])


def test_affine_equals_torch(parts, noise):
    weight, bias = noise(D, C, seed=1, dtype=parts.dtype), noise(D, seed=2, dtype=parts.dtype)
    assert_close(total(passage.affine(parts, weight, bias)), F.linear(total(parts), weight, bias))
    assert_close(passage.affine(parts, weight), parts @ weight.T)


def test_layer_norm_equals_torch(parts, noise):
    weight, bias = noise(C, seed=1, dtype=parts.dtype), noise(C, seed=2, dtype=parts.dtype)
    expected = F.layer_norm(total(parts), (C,), weight, bias, eps=1e-3)
    assert_close(total(passage.layer_norm(parts, weight, bias, eps=1e-3)), expected)


def test_layer_norm_without_factors_equals_torch(parts):
    assert_close(total(passage.layer_norm(parts)), F.layer_norm(total(parts), (C,)))


def test_rms_norm_equals_torch(parts, noise):
    weight = noise(C, seed=1, dtype=parts.dtype)
    expected = F.rms_norm(total(parts), (C,), weight, eps=1e-3)
    assert_close(total(passage.rms_norm(parts, weight, eps=1e-3)), expected)


def test_l2_norm_equals_torch(parts):
    assert_close(total(passage.l2_norm(parts)), F.normalize(total(parts), dim=1))


def test_l2_norm_of_a_zero_vector_is_zero():
    assert torch.equal(passage.l2_norm(torch.zeros(1, N + 1, C)), torch.zeros(1, N + 1, C))


def test_scale_by_hand():
    parts = torch.tensor([[[1.0, 2.0], [3.0, 4.0], [0.5, 0.5]]])  # two cells and the residual
    scaled = passage.scale(parts, torch.tensor([2.0, 10.0]), torch.tensor([1.0, -2.0]))
    assert_close(scaled, torch.tensor([[[2.5, 19.0], [6.5, 39.0], [1.0, 5.0]]]))


@pytest.mark.parametrize(
    "activation", [torch.relu, F.gelu, F.silu, torch.tanh, torch.sigmoid, F.softplus, F.elu, F.leaky_relu]
)
def test_gate_equals_the_activation(activation, parts):
    assert_close(total(passage.gate(parts, activation)), activation(total(parts)))


def test_gate_by_hand_frozen_at_what_occurred():
    parts = torch.tensor([[[3.0, -3.0], [-1.0, 1.0], [0.0, 0.0]]])  # totals 2 and -2
    assert_close(passage.gate(parts, torch.relu), torch.tensor([[[3.0, 0.0], [-1.0, 0.0], [0.0, 0.0]]]))


def test_gate_is_closed_where_parts_cancel():
    parts = torch.tensor([[[3.0], [-3.0], [0.0]]])
    assert torch.equal(passage.gate(parts, torch.relu), torch.zeros(1, 3, 1))


def test_gate_of_an_activation_in_cell_leaves_the_parts_alone(parts):
    before = parts.clone()
    gated = passage.gate(parts, nn.ReLU(inplace=True))
    assert torch.equal(parts, before)
    assert_close(total(gated), total(parts).relu())


def test_every_passage_leaves_its_arguments_alone(parts):
    before = parts.clone()
    ones = torch.ones(C, dtype=parts.dtype)
    passage.layer_norm(parts, ones, ones)
    passage.rms_norm(parts, ones)
    passage.l2_norm(parts)
    passage.scale(parts, ones, ones)
    passage.affine(parts, torch.ones(D, C, dtype=parts.dtype), torch.ones(D, dtype=parts.dtype))
    assert torch.equal(parts, before)
