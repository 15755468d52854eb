"""Frozen runs: the account of a network worked out by hand, and exact on layers of every kind."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops.frozen import FrozenForward


def run(network, x):
    """The output, the input that needs a gradient, and the constants of a frozen run."""
    x = x.clone().requires_grad_()
    with torch.enable_grad(), FrozenForward() as frozen:
        output = network(x)
    return output, x, frozen


def account(network, x, target):
    """What the positions of x give to ``output · target``, and what each constant gives, as one number."""
    output, x, frozen = run(network, x)
    factors = [c.factors for c in frozen.constants]
    gradients = torch.autograd.grad((output * target).sum(), [x, *factors], allow_unused=True)
    content = (gradients[0] * x).detach()
    return output.detach(), content, [0.0 if g is None else g for g in gradients[1:]]


def test_two_layers_have_the_account_worked_out_on_paper():
    """ReLU(W x + b) · u for x = (1, 2): z = (1·1 - 1·2 + 3, 2·2 - 7) = (2, -3), so the second gate is 0."""
    first, u = nn.Linear(2, 2), torch.tensor([[5.0, 4.0]])
    first.weight.data = torch.tensor([[1.0, -1.0], [0.0, 2.0]])
    first.bias.data = torch.tensor([3.0, -7.0])
    first.requires_grad_(False)
    output, content, constants = account(lambda x: F.relu(first(x)), torch.tensor([[1.0, 2.0]]), u)
    assert_close(output, torch.tensor([[2.0, 0.0]]))
    assert_close(content, torch.tensor([[5.0, -10.0]]))  # 5 · (1·1, -1·2)
    assert_close(sum(constants), torch.tensor([[15.0]]))  # 5 · 3


def attention(x):
    """Self-attention as timm writes it without its fused kernel."""
    scores = (x * 0.5) @ x.transpose(-2, -1)
    return x + scores.softmax(dim=-1) @ x


def swiglu(x):
    a, b = (x @ torch.linspace(-1, 1, 48).reshape(6, 8)).chunk(2, dim=-1)
    return F.silu(a) * b


def squeeze(x):
    """A gate from pooled features, as in squeeze-and-excitation."""
    return x * x.mean((2, 3), keepdim=True).sigmoid()


def linear_attention(x):
    """Keys weigh values once for all queries (CoaT, EfficientViT)."""
    return x @ (x.softmax(dim=1).transpose(-2, -1) @ x)


def joined(x):
    """Two tokens that come in late, as CLS in CaiT and XCiT."""
    tokens = torch.cat([torch.linspace(-1, 1, 12).reshape(1, 2, 6).expand(2, -1, -1), x], dim=1)
    return tokens * torch.linspace(0, 1, 7)[:, None]


def shifted(x):
    return (2.0 - (x - 0.5)) + 1.5 - torch.linspace(-1, 1, 6)


def gem(x):
    return x.clamp(min=1e-6).pow(3).mean((2, 3)).pow(1 / 3)


TOKENS, MAP = (2, 5, 6), (2, 6, 5, 7)
LAYERS = {
    "linear": (nn.Linear(6, 4), TOKENS),
    "layer norm": (nn.LayerNorm(6), TOKENS),
    "rms norm": (nn.RMSNorm(6), TOKENS),
    "group norm": (nn.GroupNorm(3, 6), MAP),
    "batch norm": (nn.BatchNorm2d(6), MAP),
    "convolution": (nn.Conv2d(6, 8, 3, stride=2, padding=1), MAP),
    "depthwise": (nn.Conv2d(6, 6, 3, padding=1, groups=6), MAP),
    "max pooling": (nn.MaxPool2d(3, 2, 1), MAP),
    "attention": (attention, TOKENS),
    "fused attention": (lambda x: F.scaled_dot_product_attention(*[x[:, None]] * 3)[:, 0], TOKENS),
    "swiglu": (swiglu, TOKENS),
    "squeeze and excitation": (squeeze, MAP),
    "gem": (gem, MAP),
    "unit length": (lambda x: F.normalize(x, dim=-1), TOKENS),
    "linear attention": (linear_attention, TOKENS),
    "tokens that join": (joined, TOKENS),
    "numbers": (shifted, TOKENS),
    "positions": (lambda x: x + torch.linspace(-1, 1, 30).reshape(1, 5, 6), TOKENS),
    **{f.__name__: (f, TOKENS) for f in (F.gelu, F.relu, F.silu, F.hardswish, F.softplus, F.mish)},
}


def prepared(layer, shape):
    """The layer with every parameter and running statistic drawn at random, and an input."""
    generator = torch.Generator().manual_seed(0)
    if isinstance(layer, nn.Module):
        layer = layer.eval().requires_grad_(False)
        for name, values in [*layer.named_parameters(), *layer.named_buffers()]:
            if values.is_floating_point():
                drawn = torch.randn(values.shape, generator=generator)
                values.copy_(drawn.abs() + 0.1 if "var" in name else drawn)
    return layer, torch.randn(shape, generator=generator)


@pytest.mark.parametrize("name", LAYERS)
def test_a_frozen_layer_has_the_plain_output_and_an_account_that_closes(name):
    layer, x = prepared(*LAYERS[name])
    expected = layer(x)
    target = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1))
    output, content, constants = account(layer, x, target)
    assert_close(output, expected, rtol=1e-5, atol=1e-5)
    total = content.sum() + sum(torch.as_tensor(each).sum() for each in constants)
    assert_close(total, (expected * target).sum(), rtol=1e-5, atol=1e-4)


def held_norm(x, layer):
    """LayerNorm's Jacobian with the deviation held, as a matrix: W (I - 11ᵀ / n) / σ."""
    n = x.shape[-1]
    centering = torch.eye(n) - torch.ones(n, n) / n
    deviation = (x.var(-1, unbiased=False, keepdim=True) + layer.eps).sqrt()
    return lambda target: (target * layer.weight / deviation) @ centering


HELD = {
    "layer norm": held_norm,
    "gelu": lambda x, _: lambda target: target * F.gelu(x) / x,
    "attention": lambda x, _: (
        lambda target: target + ((x * 0.5) @ x.transpose(-2, -1)).softmax(-1).transpose(-2, -1) @ target
    ),
    "unit length": lambda x, _: lambda target: target / x.norm(dim=-1, keepdim=True),
}


@pytest.mark.parametrize("name", HELD)
def test_the_gradient_is_that_of_the_layer_with_its_gates_held(name):
    layer, x = prepared(*LAYERS[name])
    output, leaf, _ = run(layer, x)
    target = torch.randn(output.shape, generator=torch.Generator().manual_seed(2))
    (gradient,) = torch.autograd.grad((output * target).sum(), leaf)
    assert_close(gradient, HELD[name](x, layer)(target), rtol=1e-4, atol=1e-5)


def test_finite_differences_confirm_the_gradient_of_a_network_with_its_gates_held():
    """Two layers of a transformer, written out with σ, attention and GELU's factor held at x, in float64."""
    generator = torch.Generator().manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, generator=generator, dtype=torch.float64)  # noqa: E731
    x, w, u, b, c, target = draw(1, 5, 6), draw(8, 6), draw(6, 8), draw(8), draw(6), draw(1, 5, 6)

    def plain(x):
        x = x + F.scaled_dot_product_attention(*[F.layer_norm(x, (6,))] * 3)
        return x + F.linear(F.gelu(F.linear(x, w, b)), u, c)

    def held(y):
        sigma = (x.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
        normed = (x - x.mean(-1, keepdim=True)) / sigma
        weights = (normed @ normed.transpose(-2, -1) / 6**0.5).softmax(-1)
        z = (x + weights @ normed) @ w.T + b
        entered = y + weights @ ((y - y.mean(-1, keepdim=True)) / sigma)
        return entered + ((entered @ w.T + b) * (F.gelu(z) / z)) @ u.T + c

    output, leaf, _ = run(plain, x)
    assert_close(output, held(x))
    (gradient,) = torch.autograd.grad((output * target).sum(), leaf)
    for i, step in enumerate(1e-4 * torch.eye(30, dtype=torch.float64).reshape(30, 1, 5, 6)):
        difference = ((held(x + step) - held(x - step)) * target).sum() / 2e-4
        assert_close(gradient.flatten()[i], difference, rtol=1e-6, atol=1e-8)


def test_constants_lie_at_the_cells_where_they_are_added():
    """A convolution of kernel 1 keeps cells apart: the bias at a cell counts for that cell's output alone."""
    layer, x = prepared(nn.Conv2d(3, 4, 1), (1, 3, 2, 5))
    target = torch.zeros(1, 4, 2, 5)
    target[0, :, 1, 3] = 1.0
    _, content, (constant,) = account(layer, x, target)
    assert constant.shape == (1, 1, 2, 5) and constant[0, 0, 1, 3] == layer.bias.sum()
    assert constant.count_nonzero() == 1 and content.abs().sum(1).count_nonzero() == 1


def test_a_product_of_two_features_is_noted():
    _, _, frozen = run(lambda x: x * x.flip(-1), torch.randn(2, 3))
    assert frozen.unknown


def test_what_needs_no_gradient_runs_as_it_is():
    with FrozenForward() as frozen:
        F.linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(4))
    assert not frozen.constants
