"""Geometry of any picture: cells tile what the network sees, polygons cover their area."""

import io

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from PIL import Image

from lookalike.gallery.regions import Region, _inside_of
from lookalike.images import Preprocessing, load, prepare
from lookalike.ops.regrid import box_coverage
from lookalike.types import Geometry, Picture
from made_examples import few

sizes = st.tuples(st.integers(2, 90), st.integers(2, 90))
grids = st.tuples(st.integers(1, 7), st.integers(1, 6))
modes = st.sampled_from(["squash", "crop", "letterbox", "fit"])
upright = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


def settings_of(mode, input_size, crop_pct):
    return Preprocessing(mode, input_size, 1.0 if mode == "fit" else crop_pct)


def picture_of(size):
    return Picture(Image.new("RGB", (size[1], size[0])), size, "made")


@given(sizes, sizes, modes, st.floats(0.5, 1), grids)
@few(60)
def test_the_cells_tile_what_the_network_sees(size, input_size, mode, crop_pct, grid):
    pixels, geometry = prepare(picture_of(size), settings_of(mode, input_size, crop_pct))
    assert pixels.shape == (*geometry.input_size, 3)
    top, left, height, width = geometry.crop
    boxes = [geometry.cell_box(r, c, grid) for r in range(grid[0]) for c in range(grid[1])]
    assert sum((x1 - x0) * (y1 - y0) for x0, y0, x1, y1 in boxes) == pytest.approx(height * width)
    assert boxes[0][:2] == pytest.approx((left, top))
    assert boxes[-1][2:] == pytest.approx((left + width, top + height))
    for i, (x0, y0, x1, y1) in enumerate(boxes):
        assert geometry.cell_at((x0 + x1) / 2, (y0 + y1) / 2, grid) == divmod(i, grid[1])
    assert geometry.cell_at(left - 1, top + height / 2, grid) is None
    assert geometry.cell_at(left + width / 2, top + height + 1, grid) is None


@given(sizes, sizes, modes, st.floats(0.5, 1))
@few(60)
def test_what_the_network_sees_is_on_the_image_unless_it_is_filled_up(size, input_size, mode, crop_pct):
    _, geometry = prepare(picture_of(size), settings_of(mode, input_size, crop_pct))
    top, left, height, width = geometry.crop
    if mode != "letterbox":
        assert top >= -1e-9 and left >= -1e-9
        assert top + height <= size[0] + 1e-6 and left + width <= size[1] + 1e-6


@given(st.integers(1, 8), st.integers(2, 40), st.integers(2, 40))
@few(40)
def test_every_orientation_turns_each_pixel_to_its_place(orientation, height, width):
    stored = np.random.default_rng(height * 41 + width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    image, buffer = Image.fromarray(stored), io.BytesIO()
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(buffer, "PNG", exif=exif)
    found = load(buffer.getvalue())
    expected = upright[orientation](stored)
    assert found.original_size == expected.shape[:2]
    assert np.array_equal(np.asarray(found.image), expected)


corners = st.lists(
    st.tuples(st.floats(-60, 160), st.floats(-60, 160)), min_size=3, max_size=3
)  # triangles have one inside, whatever the order of the corners


@given(corners, st.tuples(st.integers(20, 120), st.integers(20, 120)))
@few(50)
def test_a_triangle_covers_the_area_of_its_part_on_the_image(polygon, size):
    geometry = Geometry(size, size, (0.0, 0.0, float(size[0]), float(size[1])))
    (ax, ay), (bx, by), (cx, cy) = polygon
    assume(abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) > 50)
    area = clipped_area(polygon, size)
    assume(area > 25)
    inside = _inside_of(polygon, size)
    cell = size[0] / 6 * size[1] / 4
    length = sum(
        np.hypot(x - u, y - v) for (x, y), (u, v) in zip(polygon, [*polygon[1:], polygon[0]], strict=True)
    )
    slack = 1 + length / 50  # of drawing, along the edges
    assert float(inside.coverage(geometry, (6, 4)).sum()) * cell == pytest.approx(area, rel=0.03, abs=slack)


@given(st.tuples(*[st.integers(0, 99)] * 4), grids)
@few(40)
def test_a_rectangle_as_a_polygon_covers_the_cells_of_the_box(sides, grid):
    left, right = sorted(sides[:2])
    top, bottom = sorted(sides[2:])
    assume(right - left >= 4 and bottom - top >= 4)
    geometry = Geometry((100, 120), (32, 48), (3.0, -5.0, 90.0, 130.0))
    inside = _inside_of([(left, top), (right, top), (right, bottom), (left, bottom)], (100, 120))
    box = box_coverage(geometry, (left, top, right, bottom), grid)
    assert np.allclose(inside.coverage(geometry, grid).reshape(grid), box, atol=2e-3)


not_numbers = st.sampled_from([float("nan"), float("inf"), -float("inf"), None, "3", [1]])


@given(st.lists(st.one_of(st.floats(-1e300, 1e300), not_numbers), min_size=3, max_size=5))
@few(60)
def test_a_box_is_four_finite_numbers_or_an_error_in_words(values):
    is_box = len(values) == 4 and all(isinstance(v, float) and np.isfinite(v) for v in values)
    if is_box:
        assert Region.of(tuple(values), None).box == tuple(values)
    else:
        with pytest.raises(ValueError, match="a box must be four numbers"):
            Region.of(tuple(values), None)


@given(st.lists(st.tuples(st.floats(-1e300, 1e300), st.floats(-1e300, 1e300)), min_size=3, max_size=6))
@few(60)
def test_huge_corners_cost_no_more_and_cover_no_more_than_the_image(polygon):
    try:
        inside = _inside_of(polygon, (50, 70))
    except ValueError as error:
        assert "covers none of the 70 x 50 pixels" in str(error)
        return
    left, top, right, bottom = inside.pixels
    assert 0 <= left < right <= 70 and 0 <= top < bottom <= 50


def test_a_box_and_a_polygon_together_are_an_error():
    with pytest.raises(ValueError, match="a box or a polygon, got both"):
        Region.of((0, 0, 5, 5), [(0, 0), (5, 0), (5, 5)])


def clipped_area(polygon, size, n=400):
    """Area of the part of a triangle on the image, by the centers of many points."""
    height, width = size
    y, x = np.mgrid[0:n, 0:n]
    x, y = (x + 0.5) * width / n, (y + 0.5) * height / n
    (ax, ay), (bx, by), (cx, cy) = polygon
    sides = [
        (bx - ax) * (y - ay) - (by - ay) * (x - ax),
        (cx - bx) * (y - by) - (cy - by) * (x - bx),
        (ax - cx) * (y - cy) - (ay - cy) * (x - cx),
    ]
    inside = (np.min(sides, axis=0) >= 0) | (np.max(sides, axis=0) <= 0)
    return inside.mean() * height * width
