import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lookalike.ops.secant import SecantForward, log_sum_exp, product, quotient, secant


def halves(*shape, seed=0, requires_grad=True):
    """An image and a reference as one batch of two, in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(2, *shape, generator=generator, dtype=torch.float64, requires_grad=requires_grad)


def account(output, inputs):
    """Shares of the difference of an output's halves, and that difference, both for one direction."""
    image, reference = output.chunk(2)
    direction = torch.randn(image.shape, generator=torch.Generator().manual_seed(9), dtype=output.dtype)
    difference = ((image - reference) * direction).sum()
    gradients = torch.autograd.grad(difference, inputs)
    shares = [gradient * each.detach() for gradient, each in zip(gradients, inputs, strict=True)]
    return sum(each.sum() for each in shares), difference.detach()


def attend(x, **options):
    query, key, value = x.chunk(3, dim=-1)
    return F.scaled_dot_product_attention(query, key, value, **options)


def attend_in_groups(x):
    return F.scaled_dot_product_attention(x, x[:, :2], x[:, :2] * 2, enable_gqa=True)


def attend_masked(x):
    return attend(x, attn_mask=torch.ones(5, 5, dtype=torch.bool).triu())


BIAS = torch.arange(25.0).double().reshape(5, 5)
VALUES = torch.arange(30.0).double().reshape(1, 2, 5, 3).expand(2, 2, 5, 3)
SCALE, SHIFT = torch.arange(1.0, 5.0).double(), torch.ones(4).double()
FUNCTIONS = {
    "gelu": (F.gelu, (5, 4)),
    "relu6": (F.relu6, (3, 5, 4)),
    "sigmoid gate": (lambda x: x * torch.sigmoid(x[..., :1]), (5, 4)),
    "swiglu": (lambda x: F.silu(x[..., :2]) * x[..., 2:], (5, 4)),
    "softmax": (lambda x: x.softmax(1), (5, 4)),
    "quotient": (lambda x: x / (2 + x.square().mean(-1, keepdim=True)), (5, 4)),
    "layer norm": (lambda x: F.layer_norm(x, (4,), SCALE, SHIFT), (5, 4)),
    "group norm": (lambda x: F.group_norm(x, 2, SCALE, SHIFT), (4, 5, 3)),
    "rms norm": (lambda x: F.rms_norm(x, (4,)), (5, 4)),
    "normalize": (lambda x: F.normalize(x, dim=1), (7,)),
    "max pooling": (lambda x: F.max_pool2d(x, 3, stride=2, padding=1), (2, 7, 5)),
    "largest": (lambda x: x.amax((2, 3)), (2, 7, 5)),
    "generalized mean": (lambda x: x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3), (2, 7, 5)),
    "attention": (attend, (2, 5, 12)),
    "masked attention": (attend_masked, (2, 5, 12)),
    "causal attention": (lambda x: attend(x, is_causal=True), (2, 5, 12)),
    "biased attention": (lambda x: attend(x, attn_mask=BIAS), (2, 5, 12)),
    "grouped queries": (attend_in_groups, (4, 5, 3)),
    "fixed values": (lambda x: F.scaled_dot_product_attention(x, x, VALUES), (2, 5, 3)),
    "linear": (lambda x: x @ torch.arange(12.0).double().reshape(4, 3) + 1, (5, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("seed", [0, 1])
def test_a_difference_is_the_sum_of_its_shares(name, seed):
    function, shape = FUNCTIONS[name]
    x = halves(*shape, seed=seed)
    with SecantForward():
        output = function(x)
    shares, difference = account(output, [x])
    torch.testing.assert_close(output.detach(), function(x.detach()))
    torch.testing.assert_close(shares, difference, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_sum_holds_where_image_and_reference_are_equal_in_part(name):
    function, shape = FUNCTIONS[name]
    x = halves(*shape).detach()
    x[1, ..., : shape[-1] // 2] = x[0, ..., : shape[-1] // 2]
    x.requires_grad_()
    with SecantForward():
        output = function(x)
    shares, difference = account(output, [x])
    torch.testing.assert_close(shares, difference, atol=1e-9, rtol=1e-9)


def test_the_plain_gradient_misses_the_difference():
    x = halves(5, 4)
    shares, difference = account(F.gelu(x), [x])
    assert abs(float(shares - difference)) > 0.01


def test_slopes_of_a_parabola_are_the_sums_of_its_ends():
    x = torch.tensor([[3.0, 0.5], [1.0, -2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(secant(torch.square, x)[0].sum(), x)
    torch.testing.assert_close(gradient[0], torch.tensor([4.0, -1.5]))


def test_equal_inputs_have_the_slope_of_the_curve():
    x = torch.tensor([[2.0], [2.0]], requires_grad=True)
    (gradient,) = torch.autograd.grad(secant(torch.exp, x)[0].sum(), x)
    torch.testing.assert_close(gradient[0], torch.tensor([2.0]).exp())


def test_a_product_is_split_by_the_means_of_its_factors():
    """5 * 7 - 1 * 3 = 32 = (7 + 3) / 2 * (5 - 1) + (5 + 1) / 2 * (7 - 3)."""
    x = torch.tensor([[5.0], [1.0]], requires_grad=True)
    y = torch.tensor([[7.0], [3.0]], requires_grad=True)
    output = product(x, y)
    of_x, of_y = torch.autograd.grad(output[0].sum(), [x, y])
    assert (float(of_x[0] * 4), float(of_y[0] * 4)) == (20.0, 12.0)


def test_a_quotient_is_split_as_the_product_that_it_undoes():
    """6 / 3 - 1 / 1 = 1 = ((6 - 1) - (2 + 1) / 2 * (3 - 1)) / ((3 + 1) / 2)."""
    x = torch.tensor([[6.0], [1.0]], requires_grad=True)
    y = torch.tensor([[3.0], [1.0]], requires_grad=True)
    of_x, of_y = torch.autograd.grad(quotient(x, y)[0].sum(), [x, y])
    assert (float(of_x[0] * 5), float(of_y[0] * 2)) == (2.5, -1.5)


def test_a_vanishing_divisor_costs_no_precision():
    """GeM of a channel that is nearly empty in the reference, in float32."""
    x = torch.rand(2, 9, 4)
    x[1] = 1e-6
    x.requires_grad_()
    with SecantForward():
        peak = x.amax(1, keepdim=True)
        output = peak.squeeze(1) * (x / peak).pow(3).mean(1).pow(1 / 3)
    shares, difference = account(output, [x])
    torch.testing.assert_close(shares, difference, atol=1e-5, rtol=1e-5)


def test_weights_of_a_log_sum_lie_between_both_softmaxes():
    x = halves(4, 6)
    (gradient,) = torch.autograd.grad(log_sum_exp(x)[0].sum(), x)
    at_image, at_reference = x.detach().softmax(-1)
    weights = gradient[0]
    torch.testing.assert_close(weights.sum(-1), torch.ones(4, dtype=torch.float64))
    low, high = torch.minimum(at_image, at_reference), torch.maximum(at_image, at_reference)
    assert bool(((weights >= low - 1e-12) & (weights <= high + 1e-12)).all())


def test_far_scores_do_not_overflow():
    x = torch.tensor([[[90.0, -90.0, 0.0]], [[-900.0, 900.0, 0.0]]], requires_grad=True)
    with SecantForward():
        output = x.softmax(-1)
    shares, difference = account(output, [x])
    assert torch.isfinite(shares)
    torch.testing.assert_close(shares, difference, atol=1e-5, rtol=1e-5)


def test_two_layers_follow_the_rescale_rule_written_out():
    """y = v . relu(W x + b): the share of x_i is sum_j v_j m_j W_ji dx_i, m_j the slope of unit j."""
    layer = nn.Linear(3, 5).double().requires_grad_(False)
    top = torch.randn(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    x = halves(3, seed=2)
    with SecantForward():
        output = F.relu(layer(x)) @ top
    (gradient,) = torch.autograd.grad(output[0] - output[1], x)
    moves = (x[0] - x[1]).detach()
    found = gradient[0] * moves
    for i in range(3):
        expected = 0.0
        for j in range(5):
            before, after = (float(layer.weight[j] @ x[s].detach() + layer.bias[j]) for s in (1, 0))
            slope = (max(after, 0.0) - max(before, 0.0)) / (after - before)
            expected += float(top[j]) * slope * float(layer.weight[j, i]) * float(moves[i])
        assert float(found[i]) == pytest.approx(expected, abs=1e-12)


def test_outside_of_the_context_nothing_is_changed():
    x = halves(5, 4)
    with SecantForward():
        pass
    (gradient,) = torch.autograd.grad(F.gelu(x).sum(), x)
    y = x.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.gelu(y).sum(), y)
    torch.testing.assert_close(gradient, expected)
