import itertools

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from lookalike.ops.regrid import (
    box_coverage,
    cell_coverage,
    interval_overlaps,
    mask_coverage,
    regrid,
    regrid_window,
)
from lookalike.types import Geometry

D = 7
SQUASH = Geometry(original_size=(60, 100), input_size=(48, 160), crop=(0.0, 0.0, 60.0, 100.0))
CROP = Geometry(original_size=(60, 100), input_size=(32, 48), crop=(10.0, 20.0, 40.0, 60.0))
LETTERBOX = Geometry(original_size=(60, 100), input_size=(64, 64), crop=(-20.0, 0.0, 100.0, 100.0))


def naive_overlaps(first, second):
    return [
        [max(0.0, min(b, d) - max(a, c)) for c, d in itertools.pairwise(second)]
        for a, b in itertools.pairwise(first)
    ]


@pytest.mark.parametrize("seed", range(5))
def test_interval_overlaps_equal_a_loop_and_fill_what_both_cover(seed):
    rng = np.random.default_rng(seed)
    first, second = (np.sort(rng.normal(size=n)) for n in (5, 9))
    overlaps = interval_overlaps(torch.from_numpy(first), torch.from_numpy(second))
    assert_close(overlaps, torch.tensor(naive_overlaps(first, second), dtype=torch.float64))
    both = max(0.0, min(first[-1], second[-1]) - max(first[0], second[0]))
    assert float(overlaps.sum()) == pytest.approx(both)


@pytest.mark.parametrize(("grid", "target"), [((3, 5), (4, 7)), ((7, 2), (3, 9)), ((1, 6), (5, 1))])
def test_regrid_keeps_sums_and_flat_maps(grid, target, noise):
    shares = noise(grid[0] * grid[1], D)
    assert_close(regrid(shares, grid, target).sum(0), shares.sum(0))
    flat = torch.ones(grid[0] * grid[1], 1)
    density = grid[0] * grid[1] / (target[0] * target[1])
    assert_close(regrid(flat, grid, target), torch.full((target[0] * target[1], 1), density))


def test_regrid_to_a_multiple_and_back_changes_nothing(noise):
    shares = noise(3 * 5, D)
    assert_close(regrid(regrid(shares, (3, 5), (6, 15)), (6, 15), (3, 5)), shares)


@pytest.mark.parametrize("geometry", [SQUASH, CROP, LETTERBOX])
def test_cell_coverage_equals_the_coverage_of_each_cells_box(geometry):
    part = Geometry(geometry.original_size, (8, 8), (3.5, 21.0, 37.25, 50.5))
    found = cell_coverage(part, (2, 3), geometry, (4, 5))
    boxes = [part.cell_box(row, column, (2, 3)) for row in range(2) for column in range(3)]
    expected = torch.stack([box_coverage(geometry, box, (4, 5)).flatten() for box in boxes])
    assert_close(found, expected)


@pytest.mark.parametrize("geometry", [SQUASH, CROP, LETTERBOX])
def test_cells_of_one_grid_cover_each_other_once(geometry):
    assert_close(cell_coverage(geometry, (3, 5), geometry, (3, 5)), torch.eye(15), rtol=0, atol=1e-6)


def test_regrid_keeps_the_sum_and_one_cell_at_its_corner(noise):
    shares = noise(3 * 5, D)
    assert_close(regrid(shares, (3, 5), (4, 7)).sum(0), shares.sum(0))
    corner = torch.zeros(3 * 5, 1)
    corner[1 * 5 + 4] = 1.0  # row 1, last column
    spread = regrid(corner, (3, 5), (6, 10)).view(6, 10)
    expected = torch.zeros(6, 10)
    expected[2:4, 8:10] = 0.25
    assert_close(spread, expected)


def test_regrid_to_the_same_grid_changes_nothing(noise):
    shares = noise(3 * 5, D)
    assert_close(regrid(shares, (3, 5), (3, 5)), shares)


def test_regrid_window_equals_a_sum_over_fine_pixels(noise):
    values = noise(3, 5).double()
    fine = values.repeat_interleave(40, 0).repeat_interleave(40, 1) / 1600  # 120 x 200 pixels
    window = fine[20:110, 30:180]  # 0.5 to 2.75 rows, 0.75 to 4.5 columns
    expected = window.reshape(2, 45, 3, 50).sum((1, 3))
    assert_close(regrid_window(values, (0.5, 0.75, 2.75, 4.5), (2, 3)), expected)


def test_regrid_window_of_the_whole_map_keeps_its_sum(noise):
    values = noise(7, 4).double()
    assert_close(regrid_window(values, (0.0, 0.0, 7.0, 4.0), (5, 9)).sum(), values.sum())
    assert_close(regrid_window(values, (0.0, 0.0, 7.0, 4.0), (7, 4)), values)


@pytest.mark.parametrize(
    ("geometry", "grid", "box", "expected"),
    [
        # Columns 50..100 of 100: half of column 2, all of 3 and 4; rows 10..30: half of 0, half of 1.
        (SQUASH, (3, 5), (50, 10, 100, 30), [[0, 0, 0.25, 0.5, 0.5]] * 2 + [[0] * 5]),
        # A quarter of a cell each way: 5 of 20 rows, 7.5 of 15 columns.
        (CROP, (2, 4), (20, 10, 27.5, 15), [[0.125, 0, 0, 0], [0, 0, 0, 0]]),
        # The whole image lies in the middle 60 of 100 rows: 30 of the 50 rows of each cell.
        (LETTERBOX, (2, 4), (0, 0, 100, 60), [[0.6] * 4, [0.6] * 4]),
        # A box outside the crop covers nothing.
        (CROP, (2, 4), (0, 0, 20, 10), [[0] * 4] * 2),
        # A box around everything covers everything once.
        (CROP, (2, 4), (-50, -50, 500, 500), [[1] * 4] * 2),
    ],
)
def test_coverage_is_the_share_of_each_cell_inside_the_box(geometry, grid, box, expected):
    coverage = box_coverage(geometry, box, grid)
    assert coverage.dtype == torch.float32
    np.testing.assert_allclose(coverage, expected, atol=1e-6)


@pytest.mark.parametrize("geometry", [SQUASH, CROP, LETTERBOX])
def test_coverage_adds_up_to_the_area_of_the_box(geometry):
    grid, box = (3, 7), (31.0, 17.5, 58.0, 41.0)  # inside all three crops
    cell_area = geometry.crop[2] * geometry.crop[3] / 21
    assert box_coverage(geometry, box, grid).sum() * cell_area == pytest.approx(27 * 23.5, rel=1e-5)


def test_coverage_of_a_mask_equals_counting_pixels_where_cells_are_whole():
    rng = np.random.default_rng(0)
    mask = rng.random((24, 35)) < 0.4
    geometry = Geometry((24, 35), (8, 8), (4.0, 5.0, 18.0, 25.0))  # a crop: 3 x 5 cells of 6 x 5 pixels
    expected = [
        [mask[4 + 6 * r : 10 + 6 * r, 5 + 5 * c : 10 + 5 * c].mean() for c in range(5)] for r in range(3)
    ]
    np.testing.assert_allclose(mask_coverage(geometry, torch.from_numpy(mask), (3, 5)), expected, atol=1e-6)


def test_coverage_of_a_rectangle_equals_coverage_of_its_box():
    mask = np.zeros((31, 53), dtype=bool)
    mask[7:19, 22:40] = True
    geometry = Geometry((31, 53), (8, 8), (-4.5, 0.25, 40.0, 51.0))  # letterboxed, fractions of pixels
    np.testing.assert_allclose(
        mask_coverage(geometry, torch.from_numpy(mask), (4, 7)),
        box_coverage(geometry, (22, 7, 40, 19), (4, 7)),
        atol=1e-6,
    )


def test_a_mask_of_another_size_is_refused():
    geometry = Geometry((31, 53), (8, 8), (0, 0, 31, 53))
    with pytest.raises(ValueError, match=r"\(31, 53\), got \(53, 31\)"):
        mask_coverage(geometry, torch.zeros(53, 31, dtype=torch.bool), (4, 7))
