import pytest
import torch
from torch import nn
from torch.nn import functional as F

from lookalike.errors import UnsupportedMethodError
from lookalike.ops.secant import ReferenceForward, SecantForward
from lookalike.ops.secant_rules import SecantTape, product, quotient, secant, softmax


def pair(*shape, seed=0):
    """An image and a reference (1, ...), in float64."""
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, 1, *shape, generator=generator, dtype=torch.float64)
    return both[0].clone(), both[1].clone()


def account(function, image, reference):
    """Shares of the difference of a function's outputs for one direction, that difference, and the output."""
    image, reference = image.clone().requires_grad_(), reference.clone().requires_grad_()
    with ReferenceForward() as without:
        of_reference = function(reference)
    with SecantForward(without):
        output = function(image)
    direction = torch.randn(output.shape, generator=torch.Generator().manual_seed(9), dtype=output.dtype)
    (gradient,) = torch.autograd.grad((output * direction).sum(), image)
    shares = gradient * (image - reference).detach()
    return shares, ((output - of_reference).detach() * direction).sum(), output.detach()


def gradients(rule, images, references):
    """Gradients of a rule's output to its inputs, between image and reference."""
    tape = SecantTape()
    rule(tape, *(each.clone().requires_grad_() for each in references))
    tape.is_recording = False
    leaves = [each.clone().requires_grad_() for each in images]
    return torch.autograd.grad(rule(tape, *leaves).sum(), leaves)


def attend(x, **options):
    query, key, value = x.chunk(3, dim=-1)
    return F.scaled_dot_product_attention(query, key, value, **options)


def attend_in_groups(x):
    return F.scaled_dot_product_attention(x, x[:, :2], x[:, :2] * 2, enable_gqa=True)


def attend_masked(x):
    return attend(x, attn_mask=torch.ones(5, 5, dtype=torch.bool).triu())


BIAS = torch.arange(25.0).double().reshape(5, 5)
VALUES = torch.arange(30.0).double().reshape(1, 2, 5, 3)
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
    image, reference = pair(*shape, seed=seed)
    shares, difference, output = account(function, image, reference)
    torch.testing.assert_close(output, function(image))
    torch.testing.assert_close(shares.sum(), difference, atol=1e-9, rtol=1e-9)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_sum_holds_where_image_and_reference_are_equal_in_part(name):
    function, shape = FUNCTIONS[name]
    image, reference = pair(*shape)
    reference[..., : shape[-1] // 2] = image[..., : shape[-1] // 2]
    shares, difference, _ = account(function, image, reference)
    torch.testing.assert_close(shares.sum(), difference, atol=1e-9, rtol=1e-9)


def test_each_row_of_a_batch_is_a_pair_of_its_own():
    function, shape = FUNCTIONS["attention"]
    (a, b), (c, d) = pair(*shape), pair(*shape, seed=1)
    both, difference, _ = account(lambda x: function(x).sum((1, 2, 3)), torch.cat([a, c]), torch.cat([b, d]))
    first, _, _ = account(lambda x: function(x).sum((1, 2, 3)), a, b)
    torch.testing.assert_close(both.sum(), difference, atol=1e-9, rtol=1e-9)
    torch.testing.assert_close(both[:1], first)


def test_what_a_network_adds_in_place_does_not_change_what_is_noted():
    def add_in_place(x):
        y = F.gelu(x)
        y += x
        return F.gelu(y)

    shares, difference, _ = account(add_in_place, *pair(5, 4))
    torch.testing.assert_close(shares.sum(), difference, atol=1e-9, rtol=1e-9)


def test_the_plain_gradient_misses_the_difference():
    image, reference = pair(5, 4)
    image.requires_grad_()
    (gradient,) = torch.autograd.grad(F.gelu(image).sum(), image)
    difference = (F.gelu(image) - F.gelu(reference)).detach().sum()
    assert abs(float((gradient * (image.detach() - reference)).sum() - difference)) > 0.01


def test_slopes_of_a_parabola_are_the_sums_of_its_ends():
    (gradient,) = gradients(
        lambda tape, x: secant(tape, torch.square, x), [torch.tensor([3.0, 0.5])], [torch.tensor([1.0, -2.0])]
    )
    torch.testing.assert_close(gradient, torch.tensor([4.0, -1.5]))


def test_equal_inputs_have_the_slope_of_the_curve():
    two = torch.tensor([2.0])
    (gradient,) = gradients(lambda tape, x: secant(tape, torch.exp, x), [two], [two])
    torch.testing.assert_close(gradient, two.exp())


def test_a_product_is_split_by_the_means_of_its_factors():
    """5 * 7 - 1 * 3 = 32 = (7 + 3) / 2 * (5 - 1) + (5 + 1) / 2 * (7 - 3)."""
    of_x, of_y = gradients(
        product, [torch.tensor(5.0), torch.tensor(7.0)], [torch.tensor(1.0), torch.tensor(3.0)]
    )
    assert (float(of_x * 4), float(of_y * 4)) == (20.0, 12.0)


def test_a_quotient_is_split_as_the_product_that_it_undoes():
    """6 / 3 - 1 / 1 = 1 = ((6 - 1) - (2 + 1) / 2 * (3 - 1)) / ((3 + 1) / 2)."""
    of_x, of_y = gradients(
        quotient, [torch.tensor(6.0), torch.tensor(3.0)], [torch.tensor(1.0), torch.tensor(1.0)]
    )
    assert (float(of_x * 5), float(of_y * 2)) == (2.5, -1.5)


def test_a_vanishing_divisor_costs_no_precision():
    """GeM of a channel that is nearly empty in the reference, in float32."""

    def generalized_mean(x):
        peak = x.amax(1, keepdim=True)
        return peak.squeeze(1) * (x / peak).pow(3).mean(1).pow(1 / 3)

    shares, difference, _ = account(generalized_mean, torch.rand(1, 9, 4), torch.full((1, 9, 4), 1e-6))
    torch.testing.assert_close(shares.sum(), difference, atol=1e-5, rtol=1e-5)


def test_the_log_sum_of_a_softmax_is_split_by_weights_between_both_softmaxes():
    """Gradients of log softmax are 1 less the weights, those of softmax their multiple by its slopes."""
    image, reference = pair(6)
    at_image, at_reference = image.softmax(-1)[0], reference.softmax(-1)[0]
    step = at_image.log() - at_reference.log()
    slopes = (at_image - at_reference) / step
    of_image, of_reference = (at_image * step).sum(), (at_reference * step).sum()  # divergences, one negative
    part = -of_reference / (of_image - of_reference)
    weights = part * at_image + (1 - part) * at_reference
    assert float((weights * step).sum()) == pytest.approx(0, abs=1e-12)
    for i in range(6):
        (found,) = gradients(lambda tape, x, i=i: softmax(tape, x)[..., i], [image], [reference])
        expected = slopes[i] * (torch.eye(6, dtype=torch.float64)[i] - weights)
        torch.testing.assert_close(found[0], expected)


def test_scores_of_minus_infinity_have_no_share():
    image, reference = pair(2, 6)
    mask = torch.zeros(6).double().index_fill(0, torch.tensor([1, 4]), -torch.inf)
    shares, difference, output = account(lambda x: (x + mask).softmax(-1), image, reference)
    assert not output[..., [1, 4]].any() and not shares[..., [1, 4]].any()
    torch.testing.assert_close(shares.sum(), difference, atol=1e-9, rtol=1e-9)


def test_equal_inputs_take_the_slope_at_the_exponent_of_their_own_place():
    image = torch.tensor([[[2.0, 3.0], [2.0, 5.0]]])
    exponents = torch.tensor([1.0, 3.0])
    (found,) = gradients(lambda tape, x: secant(tape, torch.pow, x, exponents), [image], [image])
    torch.testing.assert_close(found, torch.tensor([[[1.0, 27.0], [1.0, 75.0]]]))


def test_far_scores_do_not_overflow():
    image, reference = torch.tensor([[90.0, -90.0, 0.0]]), torch.tensor([[-900.0, 900.0, 0.0]])
    shares, difference, _ = account(lambda x: x.softmax(-1), image, reference)
    assert torch.isfinite(shares).all()
    torch.testing.assert_close(shares.sum(), difference, atol=1e-5, rtol=1e-5)


def test_two_layers_follow_the_rescale_rule_written_out():
    """y = v . relu(W x + b): the share of x_i is sum_j v_j m_j W_ji dx_i, m_j the slope of unit j."""
    layer = nn.Linear(3, 5).double().requires_grad_(False)
    top = torch.randn(5, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    image, reference = pair(3, seed=2)
    found, _, _ = account(lambda x: F.relu(layer(x)) @ top * 2, image, reference)
    direction = float(torch.randn(1, generator=torch.Generator().manual_seed(9), dtype=torch.float64))
    moves = (image - reference)[0]
    for i in range(3):
        expected = 0.0
        for j in range(5):
            before, after = (float(layer.weight[j] @ x[0] + layer.bias[j]) for x in (reference, image))
            slope = (max(after, 0.0) - max(before, 0.0)) / (after - before)
            expected += 2 * direction * float(top[j]) * slope * float(layer.weight[j, i]) * float(moves[i])
        assert float(found[0, i]) == pytest.approx(expected, abs=1e-12)


def test_a_network_that_does_something_else_with_the_reference_is_refused():
    image, reference = (each.requires_grad_() for each in pair(5, 4))
    with ReferenceForward() as without:
        F.gelu(reference)
    other = "a product on the image where it runs an elementwise"
    with pytest.raises(UnsupportedMethodError, match=other), SecantForward(without):
        _ = image * image
    with pytest.raises(UnsupportedMethodError, match="runs nothing on the picture"), SecantForward(without):
        F.gelu(F.gelu(image))


def test_outside_of_the_context_nothing_is_changed():
    image, reference = (each.requires_grad_() for each in pair(5, 4))
    with ReferenceForward() as without:
        F.gelu(reference)
    with SecantForward(without):
        pass
    (gradient,) = torch.autograd.grad(F.gelu(image).sum(), image)
    plain = image.detach().clone().requires_grad_()
    (expected,) = torch.autograd.grad(F.gelu(plain).sum(), plain)
    torch.testing.assert_close(gradient, expected)
