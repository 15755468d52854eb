import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from torch import nn
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.errors import UnsupportedMethodError
from lookalike.models.heads import (
    Gated,
    L2Norm,
    PlainBatchNorm,
    Pointwise,
    Residual,
    Scale,
    build_head,
    describe_head,
    propagate,
)
from lookalike.models.whitening import all_but_the_top, whitening
from made_heads import HEADS, batch_norm, linear

B, N, C = 2, 15, 7
OTHERS = {
    "pointwise convolution": lambda c: Pointwise(nn.Conv2d(c, 4, 1).requires_grad_(False)),
    "plain BatchNorm2d": lambda c: PlainBatchNorm(batch_norm(nn.BatchNorm2d(c))),
    "RMSNorm": lambda c: nn.RMSNorm(c, eps=1e-5),
    "RMSNorm, default eps": lambda c: nn.RMSNorm(c),
    "layer scale": lambda c: Scale(torch.linspace(-1, 2, c)),
    "residual": lambda c: Residual(nn.Sequential(nn.LayerNorm(c), linear(c, 9), nn.GELU(), linear(9, c))),
    "gated": lambda c: Gated(linear(c, 5), linear(c, 5), nn.SiLU()),
    "activation in place": lambda c: nn.ReLU(inplace=True),
    "sigmoid": lambda c: nn.Sigmoid(),
    "dropout in evaluation": lambda c: nn.Sequential(nn.Dropout(0.5), nn.Identity()).eval(),
}
ALL = HEADS | OTHERS


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", ALL)
def test_carried_parts_sum_to_the_output(name, dtype, noise):
    head = ALL[name](C).to(dtype).eval().requires_grad_(False)
    shares = noise(B, N + 1, C, dtype=dtype)
    shares[:, :, 2] = 0.0  # a gate sees exactly zero
    expected = head(shares.sum(1))
    assert_close(propagate(head, shares).sum(1), expected, rtol=1e-5, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", ALL)
def test_carrying_leaves_parts_and_head_unchanged(name, noise):
    head = ALL[name](C).eval()
    shares = noise(B, N + 1, C)
    before, weights = shares.clone(), {k: v.clone() for k, v in head.state_dict().items()}
    propagate(head, shares)
    assert torch.equal(shares, before)
    assert all(torch.equal(v, weights[k]) for k, v in head.state_dict().items())


@pytest.mark.parametrize("name", ALL)
def test_equal_cells_get_equal_shares(name, noise):
    shares = noise(B, 1, C).repeat(1, N + 1, 1)
    propagated = propagate(ALL[name](C).eval(), shares)
    assert_close(propagated[:, :1].expand(-1, N, -1), propagated[:, :-1])


def test_an_affine_head_shares_like_the_gradient_times_the_input(noise):
    head, shares = nn.Sequential(linear(C, 9, bias=False), linear(9, 3, bias=False)), noise(1, N + 1, C)
    factor = torch.ones(N + 1, requires_grad=True)
    output = head((factor[:, None] * shares[0]).sum(0))
    expected = torch.stack([torch.autograd.grad(o, factor, retain_graph=True)[0] for o in output], dim=1)
    assert_close(propagate(head, shares)[0].detach(), expected)


def test_a_convolution_between_vectors_is_refused():
    with pytest.raises(UnsupportedMethodError, match="1x1 convolution without groups"):
        Pointwise(nn.Conv2d(4, 4, 3))


def test_an_unknown_layer_is_refused_by_name(noise):
    with pytest.raises(UnsupportedMethodError, match="can't pass through Softmax"):
        propagate(nn.Softmax(dim=-1), noise(B, N + 1, C))


def test_batch_norm_without_statistics_is_refused(noise):
    with pytest.raises(UnsupportedMethodError, match="running statistics"):
        propagate(nn.BatchNorm1d(C, track_running_stats=False).eval(), noise(B, N + 1, C))


def test_plain_batch_norm_equals_torch(noise):
    norm = batch_norm(nn.BatchNorm2d(C)).eval()
    vectors = noise(B, C)
    assert_close(PlainBatchNorm(norm)(vectors), norm(vectors[..., None, None])[..., 0, 0])


def test_l2_norm_equals_torch_and_keeps_zero(noise):
    vectors = noise(B, C)
    assert_close(L2Norm()(vectors), F.normalize(vectors, dim=1))
    assert torch.equal(L2Norm()(torch.zeros(B, C)), torch.zeros(B, C))


def test_whitened_embeddings_have_unit_covariance(noise):
    embeddings = noise(200, C, dtype=torch.float64) @ noise(C, C, seed=1, dtype=torch.float64) + 3
    whitened = whitening(embeddings, 4)(embeddings)
    assert_close(whitened.mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-8, rtol=0)
    assert_close(whitened.T.cov(), torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)


def test_whitening_keeps_the_direction_of_largest_variance():
    embeddings = torch.randn(300, C, generator=torch.Generator().manual_seed(0))
    embeddings[:, 4] *= 20
    direction = whitening(embeddings, 1).weight[0]
    assert int(direction.abs().argmax()) == 4
    assert_close(direction[4].abs(), 1 / embeddings[:, 4].std(), rtol=1e-2, atol=0)  # others correlate a bit


@pytest.mark.parametrize("width", [-1, C + 1])
def test_whitening_to_an_impossible_width_is_refused(width, noise):
    with pytest.raises(ValueError, match=f"keeps 1 to {C} directions, got {width}"):
        whitening(noise(50, C), width)


def test_whitening_of_two_embeddings_keeps_one_direction(noise):
    assert whitening(noise(2, C)).weight.shape == (1, C)


@pytest.mark.parametrize("name", HEADS)
def test_a_described_head_is_built_again(name, noise):
    head = HEADS[name](C).eval()
    again = build_head(describe_head(head), head.state_dict()).eval()
    assert_close(again(noise(B, C)), head(noise(B, C)), rtol=0, atol=0)
    assert describe_head(again) == describe_head(head)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Softmax(dim=1),
        nn.GELU(approximate="tanh"),
        nn.LayerNorm(C, elementwise_affine=False),
        nn.BatchNorm1d(C, affine=False),
        nn.BatchNorm1d(C, track_running_stats=False),
    ],
    ids=str,
)
def test_a_layer_that_would_not_load_again_is_not_described(layer):
    with pytest.raises(ValueError, match="a saved head holds"):
        describe_head(nn.Sequential(layer))


def test_an_unknown_saved_layer_is_refused():
    with pytest.raises(ValueError, match=r"layer is one of affine.*got 'softmax'"):
        build_head([{"layer": "softmax"}], {})


def test_all_but_the_top_removes_the_mean_and_the_strongest_directions(noise):
    strong = torch.tensor([9.0, 5.0, 1.0, 0.6, 0.3])
    samples = noise(40, 5) * strong + 3
    ours = all_but_the_top(samples, 2)(samples).double()
    components = PCA(5).fit(samples.double().numpy()).components_
    assert_close(ours.mean(0), torch.zeros(5, dtype=torch.float64), atol=1e-5, rtol=0)
    along = ours.numpy() @ components.T
    assert np.abs(along[:, :2]).max() < 1e-5
    expected = (samples.double().numpy() - samples.double().numpy().mean(0)) @ components[2:].T
    np.testing.assert_allclose(along[:, 2:], expected, atol=1e-5)


def test_more_directions_than_samples_span_are_refused(noise):
    with pytest.raises(ValueError, match="0 to 3 directions to set aside, got 4"):
        all_but_the_top(noise(4, 7), 4)
