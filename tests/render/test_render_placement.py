import numpy as np
import pytest
from made_up import one_hot, squashed

from lookalike.render.placement import fitted, place, seen, sees_all
from lookalike.types import Geometry

SIZE = (60, 100)
GEOMETRIES = {
    "squash": squashed(SIZE),
    "center crop": Geometry(SIZE, (224, 224), (4.0, 24.0, 52.0, 52.0)),
    "wide crop": Geometry(SIZE, (96, 160), (3.3, 5.5, 53.4, 89.0)),
    "letterbox": Geometry(SIZE, (224, 224), (-20.0, 0.0, 100.0, 100.0)),
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("scale", [1.0, 0.5, 3.0])
def test_a_hot_cell_peaks_at_its_center_and_ends_at_its_neighbors(geometry, scale):
    grid, cell = (5, 7), (2, 4)
    size = (round(60 * scale), round(100 * scale))
    placed = place(one_hot(grid, cell), geometry, size)
    left, top, right, bottom = (x * scale for x in geometry.cell_box(*cell, grid))
    rows, columns = np.nonzero(placed > 0)
    height, width = bottom - top, right - left
    assert top - height / 2 - 1 <= rows.min() and rows.max() <= bottom + height / 2
    assert left - width / 2 - 1 <= columns.min() and columns.max() <= right + width / 2
    peak = np.argwhere(placed > placed.max() - 1e-3).mean(0) + 0.5
    np.testing.assert_allclose(peak, [(top + bottom) / 2, (left + right) / 2], atol=0.51)


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_honest_cells_fill_exactly_their_boxes(geometry):
    grid, cell = (5, 7), (3, 1)
    placed = place(one_hot(grid, cell), geometry, SIZE, smooth=False)
    left, top, right, bottom = geometry.cell_box(*cell, grid)
    y, x = np.mgrid[:60, :100] + 0.5
    assert ((placed == 1) == ((top <= y) & (y < bottom) & (left <= x) & (x < right))).all()


def test_smoothing_never_leaves_the_range_of_the_map():
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    placed = place(values, squashed(SIZE), SIZE)
    assert values.min() - 1e-6 <= placed.min() and placed.max() <= values.max() + 1e-6


def test_a_positive_map_stays_positive():
    values = np.random.default_rng(0).exponential(size=(5, 7)).astype(np.float32)
    assert place(values, squashed(SIZE), (300, 500)).min() > 0


def test_values_stand_at_the_centers_of_their_cells():
    values = np.random.default_rng(0).normal(size=(5, 7)).astype(np.float32)
    placed = place(values, squashed((55, 77)), (55, 77))  # 11 pixels a cell: centers are pixels
    np.testing.assert_allclose(placed[5::11, 5::11], values, atol=1e-6)


def test_a_slope_stays_a_slope():
    values = np.tile(np.arange(7, dtype=np.float32), (3, 1))
    placed = place(values, squashed((9, 700)), (9, 700))
    inner = placed[4, 150:550]  # between centers that are not at the border
    np.testing.assert_allclose(np.diff(inner), 0.01, atol=1e-4)


def test_a_transposed_map_is_placed_transposed():
    values = one_hot((3, 5), (0, 4))
    wide, high = place(values, squashed((30, 50)), (30, 50)), place(values.T, squashed((50, 30)), (50, 30))
    np.testing.assert_allclose(wide, high.T, atol=1e-6)


def test_outside_the_crop_the_map_is_zero():
    geometry = GEOMETRIES["center crop"]
    placed = place(np.ones((2, 3), np.float32), geometry, SIZE)
    assert (placed == seen(geometry, SIZE)).all()
    assert placed[4:56, 24:76].all() and placed.sum() == 52 * 52


def test_a_grid_finer_than_the_pixels_is_drawn():
    assert place(np.ones((40, 30), np.float32), squashed((1, 1)), (1, 1)).item() == 1.0


def test_a_crop_without_area_is_refused():
    with pytest.raises(ValueError, match="no area"):
        place(np.ones((2, 2), np.float32), Geometry((4, 4), (8, 8), (0.0, 0.0, 4.0, 0.0)), (4, 4))


def test_sees_all_tells_crops_from_squash_and_letterbox():
    assert [sees_all(each) for each in GEOMETRIES.values()] == [True, False, False, True]


@pytest.mark.parametrize(
    ("original", "expected"), [((100, 50), (40, 20)), ((10, 2000), (1, 80)), ((1, 1), (40, 40))]
)
def test_fitted_keeps_proportions_and_at_least_a_pixel(original, expected):
    assert fitted(original, (40, 80)) == expected
