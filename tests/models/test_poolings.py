from functools import cache

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from lookalike.errors import UnsupportedMethodError
from lookalike.models.attention_poolings import ClsPooling
from lookalike.models.heads import affine_layer, propagate
from lookalike.models.poolings import (
    AveragePlusMaxPooling,
    GemPooling,
    LocalHeadPooling,
    MaxPooling,
    MeanPooling,
    RegionalPooling,
    RmacPooling,
    build_pooling,
    describe_pooling,
)
from lookalike.types import Features, Trace
from made_heads import HEADS, linear

B, H, W, C, P = 2, 3, 5, 7, 2  # h != w != C

POOLINGS = {
    "mean": MeanPooling,
    "max": MaxPooling,
    "GeM 1": lambda: GemPooling(1.0),
    "GeM 3": GemPooling,
    "GeM 60": lambda: GemPooling(60.0),
    "GeM per channel": lambda: GemPooling(torch.linspace(0.5, 8.0, C)),
    "average plus max": AveragePlusMaxPooling,
    "half of average plus max": lambda: AveragePlusMaxPooling(0.5),
    "R-MAC": RmacPooling,
    "regional": lambda: RegionalPooling(MaxPooling(), None),
    "regional, whitened": lambda: RegionalPooling(GemPooling(2.5), linear(C, 6)),
    "regional, whitened without bias": lambda: RegionalPooling(GemPooling(), linear(C, 6, bias=False)),
    "local whitening": lambda: LocalHeadPooling(linear(C, 6), GemPooling()),
    "local whitening without bias": lambda: LocalHeadPooling(linear(C, 6, bias=False), MeanPooling()),
    "local whitening, regional": lambda: LocalHeadPooling(
        linear(C, 6), RegionalPooling(MaxPooling(), linear(6, 4))
    ),
}


@cache
def made_head(name, width):
    return HEADS[name](width).eval()


def trace_of(cells, grid=(H, W)):
    prefix = torch.full((cells.shape[0], P, cells.shape[2]), 100.0, dtype=cells.dtype)  # must not leak in
    return Trace(Features(cells, prefix, grid), (), None)


@pytest.fixture
def cells(noise):
    """Features of both signs, with zeros, ties and a channel that is zero everywhere."""
    cells = noise(B, H * W, C)
    cells[:, ::4, 1] = 2.5
    cells[:, :, 2] = 0.0
    cells[:, 3] = 0.0
    return cells


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@torch.inference_mode()
def test_shares_sum_to_the_embedding_whatever_the_head(name, dtype, cells):
    pooling, trace = POOLINGS[name]().to(dtype), trace_of(cells.to(dtype))
    pooled, shares = pooling(trace.features), pooling.shares(trace)
    assert shares.shape == (B, H * W + 1, pooled.shape[1])
    errors = {}
    for head_name in HEADS:
        head = made_head(head_name, pooled.shape[1]).to(dtype)
        expected = head(pooled)
        missing = (propagate(head, shares).sum(1) - expected).norm(dim=1)
        errors[head_name] = float((missing / expected.norm(dim=1)).max())
    tolerance = 1e-5 if dtype == torch.float32 else 1e-12
    assert {name: error for name, error in errors.items() if not error <= tolerance} == {}


@pytest.mark.parametrize("name", POOLINGS)
def test_a_pooling_over_cells_leaves_no_residual(name, cells):
    with torch.inference_mode():
        shares = POOLINGS[name]().shares(trace_of(cells))
    assert torch.equal(shares[:, -1], torch.zeros_like(shares[:, -1]))


@pytest.mark.parametrize("name", [n for n in POOLINGS if n != "local whitening, regional"])  # its bias is all
def test_a_planted_cell_takes_the_share(name):
    cells = torch.full((1, H * W, C), 1e-3)
    cells[0, 1 * W + 3] = 5.0
    with torch.inference_mode():
        pooling = POOLINGS[name]()
        shares = pooling.shares(trace_of(cells))[0, :-1]
        heat = shares @ pooling(trace_of(cells).features)[0]
    assert divmod(int(heat.argmax()), W) == (1, 3)


@pytest.mark.parametrize("name", POOLINGS)
def test_a_described_pooling_is_built_again(name, cells):
    pooling = POOLINGS[name]().requires_grad_(False)
    again = build_pooling(describe_pooling(pooling), pooling.state_dict())
    features = trace_of(cells).features
    assert_close(again(features), pooling(features), rtol=0, atol=0)
    assert describe_pooling(again) == describe_pooling(pooling)


def test_regional_pooling_equals_a_loop_over_regions(cells):
    from lookalike.ops.pooling import rmac_regions

    whitening = linear(C, 6)
    expected = torch.zeros(B, 6)
    for region in rmac_regions((H, W)):
        pooled = cells[:, region].amax(1)
        whitened = whitening(pooled / (pooled.norm(dim=1, keepdim=True) + 1e-6))
        expected += whitened / (whitened.norm(dim=1, keepdim=True) + 1e-6)
    assert_close(RegionalPooling(MaxPooling(), whitening)(trace_of(cells).features), expected)


def test_local_whitening_by_hand():
    layer = affine_layer(torch.tensor([[1.0, 1.0]]), torch.tensor([0.5]))
    cells = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]])
    shares = LocalHeadPooling(layer, MeanPooling()).shares(trace_of(cells, (1, 2)))
    assert_close(shares, torch.tensor([[[1.75], [3.75], [0.0]]]))


@pytest.mark.parametrize("power", [0.0, -1.0, float("nan")])
def test_gem_refuses_powers_that_are_not_positive(power):
    with pytest.raises(ValueError, match="powers above 0"):
        GemPooling(power)


def test_an_unknown_pooling_is_refused():
    with pytest.raises(ValueError, match=r"own, cls, mean, max.*'median'"):
        build_pooling({"name": "median"})


def test_cls_pooling_without_a_cls_token_is_refused(cells):
    features = Features(cells, cells[:, :0], (H, W))
    with pytest.raises(UnsupportedMethodError, match="needs a CLS token"):
        ClsPooling(nn.Sequential(), nn.Sequential())(features)


def test_cls_pooling_without_recorded_attention_is_refused(cells):
    with pytest.raises(UnsupportedMethodError, match=r"attention .* can't be read"):
        ClsPooling(nn.Sequential(), nn.Sequential()).shares(trace_of(cells))
