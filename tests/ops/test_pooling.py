import math

import pytest
import torch
from torch.nn import functional as F
from torch.testing import assert_close

from lookalike.ops import pooling

B, H, W, C = 2, 3, 5, 7  # h != w != C, and C != N
GRID = (H, W)
PAIRS = {
    "mean": (pooling.mean_pool, pooling.mean_shares),
    "max": (pooling.max_pool, pooling.max_shares),
    "average plus max": (pooling.average_plus_max_pool, pooling.average_plus_max_shares),
    "R-MAC": (lambda x: pooling.rmac_pool(x, GRID), lambda x: pooling.rmac_shares(x, GRID)),
}
POWERS = {
    "1": torch.tensor([1.0]),
    "3": torch.tensor([3.0]),
    "100": torch.tensor([100.0]),
    "per channel": torch.linspace(0.5, 9.0, C),
}
for _name, _power in POWERS.items():
    PAIRS[f"GeM {_name}"] = (
        lambda x, p=_power: pooling.gem_pool(x, p.to(x)),
        lambda x, p=_power: pooling.gem_shares(x, p.to(x)),
    )


@pytest.fixture(params=[torch.float32, torch.float64], ids=str)
def cells(request, noise):
    """Positive, negative and zero features with ties for the maximum, a flat channel and a dark one."""
    cells = noise(B, H * W, C, dtype=request.param)
    cells[:, 2::4, 1] = 3.5  # ties
    cells[:, :, 2] = 0.0
    cells[:, :, 3] = -cells[:, :, 3].abs()
    cells[:, :, 4] = 2.0
    return cells


@pytest.mark.parametrize("name", PAIRS)
def test_shares_sum_to_the_pooled_vector(name, cells):
    pool, shares = PAIRS[name]
    assert shares(cells).shape == cells.shape
    assert_close(shares(cells).sum(1), pool(cells), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", [n for n in PAIRS if n != "R-MAC"])
def test_shares_move_with_their_cells(name, cells):
    order = torch.randperm(H * W, generator=torch.Generator().manual_seed(1))
    pool, shares = PAIRS[name]
    assert_close(shares(cells[:, order]), shares(cells)[:, order])
    assert_close(pool(cells[:, order]), pool(cells))


@pytest.mark.parametrize("name", [n for n in PAIRS if n != "R-MAC"])
def test_one_vector_everywhere_is_shared_equally(name, noise):
    cells = noise(B, 1, C).abs().expand(B, H * W, C)
    pool, shares = PAIRS[name]
    expected = pool(cells)[:, None].expand(B, H * W, C) / (H * W)
    assert_close(shares(cells), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", PAIRS)
def test_features_are_left_as_they_were(name, cells):
    before = cells.clone()
    for function in PAIRS[name]:
        function(cells)
    assert torch.equal(cells, before)


@pytest.mark.parametrize("name", PAIRS)
def test_images_of_a_batch_do_not_mix(name, cells):
    _, shares = PAIRS[name]
    assert_close(shares(cells)[1:], shares(cells[1:]))


def test_mean_and_max_equal_torch(cells):
    grid = cells.transpose(1, 2).unflatten(2, GRID)  # (B, C, h, w)
    assert_close(pooling.mean_pool(cells), F.adaptive_avg_pool2d(grid, 1).flatten(1))
    assert_close(pooling.max_pool(cells), F.adaptive_max_pool2d(grid, 1).flatten(1))


def test_max_shares_are_the_gradient_times_the_input(noise):
    cells = noise(B, H * W, C).requires_grad_()
    pooling.max_pool(cells).sum().backward()
    assert_close(pooling.max_shares(cells).detach(), (cells.grad * cells).detach())


def test_max_shares_split_ties_by_hand():
    cells = torch.tensor([[[4.0], [1.0], [4.0], [-2.0]]])
    assert_close(pooling.max_shares(cells), torch.tensor([[[2.0], [0.0], [2.0], [0.0]]]))


def test_gem_by_hand():
    cells = torch.tensor([[[1.0], [2.0], [3.0]]])
    pooled = ((1 + 8 + 27) / 3) ** (1 / 3)
    assert_close(pooling.gem_pool(cells, torch.tensor([3.0])), torch.tensor([[pooled]]))
    expected = torch.tensor([[[1.0], [8.0], [27.0]]]) / 36 * pooled
    assert_close(pooling.gem_shares(cells, torch.tensor([3.0])), expected)


def test_gem_lies_between_mean_and_max(noise):
    cells = noise(B, H * W, C).abs() + 0.1
    assert_close(pooling.gem_pool(cells, torch.tensor([1.0])), pooling.mean_pool(cells))
    # N^(-1/p) of the maximum: 1.3 % below it for N = 15, p = 200
    assert_close(pooling.gem_pool(cells, torch.tensor([200.0])), pooling.max_pool(cells), rtol=0.014, atol=0)


def test_gem_of_large_and_small_features_with_a_large_power_stays_finite():
    cells = torch.tensor([[[1e4], [1e4], [1e-5]]])
    power = torch.tensor([300.0])
    assert_close(
        pooling.gem_pool(cells, power), torch.tensor([[1e4 * (2 / 3) ** (1 / 300)]]), rtol=1e-5, atol=0
    )
    assert_close(pooling.gem_shares(cells, power)[0, 2], torch.tensor([0.0]))


def test_gem_of_negative_features_is_the_floor(noise):
    pooled = pooling.gem_pool(-noise(B, H * W, C).abs(), torch.tensor([3.0]), floor=1e-6)
    assert_close(pooled, torch.full((B, C), 1e-6))


def regions_of_the_paper(h, w, levels):
    """R-MAC's windows: (top, left, side), by the construction in Tolias et al., section 3.2."""
    short, long = min(h, w), max(h, w)
    extra = 0
    if short != long:
        off = [abs((short**2 - short * (long - short) / (m - 1)) / short**2 - 0.4) for m in range(2, 8)]
        extra = 1 + off.index(min(off))
    for level in range(1, levels + 1):
        side = int(2 * short / (level + 1))
        n_rows, n_columns = level + extra * (h > w), level + extra * (w > h)
        for i in range(n_rows if side else 0):
            for j in range(n_columns):
                top = int(i * (h - side) / (n_rows - 1)) if n_rows > 1 else 0
                left = int(j * (w - side) / (n_columns - 1)) if n_columns > 1 else 0
                yield top, left, side


@pytest.mark.parametrize("grid", [(3, 5), (6, 4), (7, 7), (2, 9), (1, 1), (1, 4)])
def test_rmac_equals_a_loop_over_windows_of_the_map(grid, noise):
    cells = noise(1, math.prod(grid), C)
    feature_map = cells[0].reshape(*grid, C)
    whole = feature_map.amax((0, 1))
    expected = whole / (whole.norm() + 1e-6)
    for top, left, side in regions_of_the_paper(*grid, levels=3):
        peak = feature_map[top : top + side, left : left + side].amax((0, 1))
        expected = expected + peak / (peak.norm() + 1e-6)
    assert_close(pooling.rmac_pool(cells, grid)[0], expected)
    assert_close(pooling.rmac_shares(cells, grid).sum(1)[0], expected, rtol=1e-5, atol=1e-6)


def test_rmac_regions_lie_within_the_grid_and_cover_it():
    regions = pooling.rmac_regions((5, 8))
    assert regions[0] == list(range(40))
    assert {cell for region in regions[1:] for cell in region} == set(range(40))
    assert all(len(set(region)) == len(region) for region in regions)
