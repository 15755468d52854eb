import numpy as np
import pytest

from lookalike.types import Geometry

# Squash of a 60 x 100 picture: a (3, 5) grid has cells of 20 x 20 original pixels.
SQUASH = Geometry(original_size=(60, 100), input_size=(48, 160), crop=(0.0, 0.0, 60.0, 100.0))
# Center crop of a 60 x 100 picture: a (2, 4) grid on 40 x 60 pixels has cells of 20 x 15.
CROP = Geometry(original_size=(60, 100), input_size=(32, 48), crop=(10.0, 20.0, 40.0, 60.0))
# Letterbox of a 60 x 100 picture in a square: 20 rows of padding above and below; cells 50 x 25.
LETTERBOX = Geometry(original_size=(60, 100), input_size=(64, 64), crop=(-20.0, 0.0, 100.0, 100.0))


@pytest.mark.parametrize(
    ("geometry", "cell", "grid", "box"),
    [
        (SQUASH, (2, 4), (3, 5), (80, 40, 100, 60)),
        (SQUASH, (1, 0), (3, 5), (0, 20, 20, 40)),
        (CROP, (0, 3), (2, 4), (65, 10, 80, 30)),
        (LETTERBOX, (0, 1), (2, 4), (25, -20, 50, 30)),
    ],
)
def test_cell_box_is_left_top_right_bottom_in_original_pixels(geometry, cell, grid, box):
    assert geometry.cell_box(*cell, grid) == box


@pytest.mark.parametrize(
    ("geometry", "point", "grid", "cell"),
    [
        (SQUASH, (85, 45), (3, 5), (2, 4)),
        (SQUASH, (0, 0), (3, 5), (0, 0)),
        (SQUASH, (99.9, 59.9), (3, 5), (2, 4)),
        (CROP, (66, 12), (2, 4), (0, 3)),
        (CROP, (21, 49), (2, 4), (1, 0)),
        (LETTERBOX, (30, 0), (2, 4), (0, 1)),
        (LETTERBOX, (30, 31), (2, 4), (1, 1)),
    ],
)
def test_cell_at_is_the_row_and_column_that_cover_the_pixel(geometry, point, grid, cell):
    assert geometry.cell_at(*point, grid) == cell


@pytest.mark.parametrize(
    ("geometry", "point"),
    [
        (SQUASH, (100, 30)),
        (SQUASH, (-0.1, 30)),
        (CROP, (19, 30)),
        (CROP, (50, 9.9)),
        (CROP, (50, 50)),
        (LETTERBOX, (50, 80)),
    ],
)
def test_a_pixel_outside_the_crop_has_no_cell(geometry, point):
    assert geometry.cell_at(*point, (2, 4)) is None


@pytest.mark.parametrize("geometry", [SQUASH, CROP, LETTERBOX])
def test_the_middle_of_every_cell_box_is_in_that_cell(geometry):
    grid = (3, 7)
    for row in range(3):
        for column in range(7):
            left, top, right, bottom = geometry.cell_box(row, column, grid)
            assert geometry.cell_at((left + right) / 2, (top + bottom) / 2, grid) == (row, column)


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
    coverage = geometry.coverage(box, grid)
    assert coverage.dtype == np.float32
    np.testing.assert_allclose(coverage, expected, atol=1e-6)


@pytest.mark.parametrize("geometry", [SQUASH, CROP, LETTERBOX])
def test_coverage_adds_up_to_the_area_of_the_box(geometry):
    grid, box = (3, 7), (31.0, 17.5, 58.0, 41.0)  # inside all three crops
    cell_area = geometry.crop[2] * geometry.crop[3] / 21
    assert geometry.coverage(box, grid).sum() * cell_area == pytest.approx(27 * 23.5, rel=1e-5)


def test_coverage_of_a_mask_equals_counting_pixels_where_cells_are_whole():
    rng = np.random.default_rng(0)
    mask = rng.random((24, 35)) < 0.4
    geometry = Geometry((24, 35), (8, 8), (4.0, 5.0, 18.0, 25.0))  # a crop: 3 x 5 cells of 6 x 5 pixels
    expected = [
        [mask[4 + 6 * r : 10 + 6 * r, 5 + 5 * c : 10 + 5 * c].mean() for c in range(5)] for r in range(3)
    ]
    np.testing.assert_allclose(geometry.coverage_of(mask, (3, 5)), expected, atol=1e-6)


def test_coverage_of_a_rectangle_equals_coverage_of_its_box():
    mask = np.zeros((31, 53), dtype=bool)
    mask[7:19, 22:40] = True
    geometry = Geometry((31, 53), (8, 8), (-4.5, 0.25, 40.0, 51.0))  # letterboxed, fractions of pixels
    np.testing.assert_allclose(
        geometry.coverage_of(mask, (4, 7)), geometry.coverage((22, 7, 40, 19), (4, 7)), atol=1e-6
    )


def test_a_mask_of_another_size_is_refused():
    geometry = Geometry((31, 53), (8, 8), (0, 0, 31, 53))
    with pytest.raises(ValueError, match=r"\(31, 53\), got \(53, 31\)"):
        geometry.coverage_of(np.zeros((53, 31), dtype=bool), (4, 7))
