"""Overlap of area for any grids and boxes: sums are kept, and each cell equals a naive loop."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.testing import assert_close

from lookalike.ops.regrid import box_coverage, cell_coverage, mask_coverage, regrid, regrid_window
from lookalike.types import Geometry
from made_examples import few

grids = st.tuples(st.integers(1, 7), st.integers(1, 6))
lengths = st.floats(0.5, 300)
crops = st.tuples(st.floats(-40, 90), st.floats(-40, 90), lengths, lengths)


def shares_of(grid, width=3):
    generator = torch.Generator().manual_seed(grid[0] * 31 + grid[1])
    return torch.randn(grid[0] * grid[1], width, generator=generator, dtype=torch.float64)


@given(grids, grids)
@few(60)
def test_the_sum_of_shares_is_kept_on_any_grid(grid, target):
    shares = shares_of(grid)
    spread = regrid(shares, grid, target)
    assert spread.shape == (target[0] * target[1], 3)
    assert_close(spread.sum(0), shares.sum(0))


@given(grids, st.integers(1, 4), st.integers(1, 4))
@few(40)
def test_a_finer_grid_and_back_gives_the_same_shares(grid, down, across):
    shares, finer = shares_of(grid), (grid[0] * down, grid[1] * across)
    assert_close(regrid(regrid(shares, grid, finer), finer, grid), shares)


@given(grids, grids, st.tuples(*[st.floats(-2, 9)] * 4))
@few(60)
def test_a_window_sums_to_what_it_holds(shape, grid, corners):
    top, bottom = sorted(corners[:2])
    left, right = sorted(corners[2:])
    values = shares_of(shape, 1).reshape(shape)
    held = sum(
        values[r, c] * overlap(r, r + 1, top, bottom) * overlap(c, c + 1, left, right)
        for r in range(shape[0])
        for c in range(shape[1])
    )
    found = regrid_window(values, (top, left, bottom, right), grid)
    assert found.shape == grid
    assert float(found.sum()) == pytest.approx(float(held), abs=1e-9)


@given(crops, st.tuples(*[st.floats(-60, 400)] * 4), grids)
@few(60)
def test_the_part_of_each_cell_in_a_box_equals_a_naive_loop(crop, corners, grid):
    geometry = Geometry((200, 300), (64, 96), crop)
    left, right = sorted(corners[:2])
    top, bottom = sorted(corners[2:])
    found = box_coverage(geometry, (left, top, right, bottom), grid)
    assert found.shape == grid
    for r in range(grid[0]):
        for c in range(grid[1]):
            x0, y0, x1, y1 = geometry.cell_box(r, c, grid)
            inside = overlap(x0, x1, left, right) * overlap(y0, y1, top, bottom)
            assert float(found[r, c]) == pytest.approx(inside / ((x1 - x0) * (y1 - y0)), abs=1e-5)


@given(crops, grids, st.integers(1, 9), st.integers(1, 8), st.data())
@few(40)
def test_a_mask_and_its_complement_cover_what_the_image_covers(crop, grid, height, width, data):
    bits = data.draw(st.lists(st.booleans(), min_size=height * width, max_size=height * width))
    mask = torch.tensor(bits).reshape(height, width)
    geometry = Geometry((height, width), (32, 48), crop)
    whole = box_coverage(geometry, (0.0, 0.0, float(width), float(height)), grid)
    found = mask_coverage(geometry, mask, grid)
    assert bool((found <= whole + 1e-6).all()) and bool((found >= 0).all())
    assert_close(found + mask_coverage(geometry, ~mask, grid), whole, atol=1e-6, rtol=1e-6)


@given(crops, grids, crops, grids)
@few(40)
def test_cells_of_a_part_hold_fractions_of_the_cells_of_the_whole(crop, grid, whole_crop, whole_grid):
    part, whole = (Geometry((200, 300), (64, 96), each) for each in (crop, whole_crop))
    found = cell_coverage(part, grid, whole, whole_grid)
    assert found.shape == (grid[0] * grid[1], whole_grid[0] * whole_grid[1])
    left, top, right, bottom = crop[1], crop[0], crop[1] + crop[3], crop[0] + crop[2]
    covered = box_coverage(whole, (left, top, right, bottom), whole_grid)
    assert_close(found.sum(0), covered.flatten(), atol=1e-4, rtol=1e-4)


def overlap(a, b, c, d):
    return max(0.0, min(b, d) - max(a, c))
