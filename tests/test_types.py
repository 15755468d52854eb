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
