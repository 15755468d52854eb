import numpy as np
import pytest
from made_up import changed, explanation, flat_picture, one_hot, pixels, squashed
from PIL import Image

from lookalike.render import match_overlay, overlay, overlays, query_overlay
from lookalike.types import Geometry, ImageMap, Picture

SIZE = (60, 100)
GEOMETRIES = {
    "squash": squashed(SIZE),
    "center crop": Geometry(SIZE, (224, 224), (4.0, 24.0, 52.0, 52.0)),
    "letterbox": Geometry(SIZE, (224, 224), (-20.0, 0.0, 100.0, 100.0)),
}


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
def test_a_hot_cell_changes_the_photo_only_where_it_lies(geometry):
    grid, cell = (4, 6), (2, 1)
    picture = flat_picture(SIZE)
    difference = changed(overlay(ImageMap(picture, geometry, one_hot(grid, cell)), dim_unseen=False), picture)
    left, top, right, bottom = geometry.cell_box(*cell, grid)
    height, width = bottom - top, right - left
    y, x = np.mgrid[:60, :100] + 0.5
    inside = (abs(y - (top + bottom) / 2) < height) & (abs(x - (left + right) / 2) < width)
    assert difference[~inside].max() == 0
    brightest = np.argwhere(difference == difference.max()).mean(0) + 0.5
    np.testing.assert_allclose(brightest, [(top + bottom) / 2, (left + right) / 2], atol=1)


def test_an_unseen_border_is_veiled_without_color():
    picture = flat_picture(SIZE, color=(200, 30, 30))
    drawn = pixels(overlay(ImageMap(picture, GEOMETRIES["center crop"], np.zeros((2, 2), np.float32))))
    assert (drawn[4:56, 24:76] == (200, 30, 30)).all()
    assert np.ptp(drawn[:, :24], axis=2).max() == 0
    assert (drawn[:, :24] != (200, 30, 30)).all()


def test_sign_decides_the_color():
    values = np.array([[1.0, -1.0]], np.float32)
    drawn = pixels(overlay(ImageMap(flat_picture((20, 40)), squashed((20, 40)), values), smooth=False))
    together, apart = drawn[10, 5], drawn[10, 35]
    assert together[0] > together[2] and apart[2] > apart[0]


def test_a_weak_map_in_a_shared_range_looks_weak():
    strong, weak = one_hot((3, 5), (1, 1), 0.9), one_hot((3, 5), (1, 1), 0.0001)
    both = explanation(strong, weak)
    assert changed(query_overlay(both), both.query.picture).max() > 150
    assert changed(match_overlay(both), both.match.picture).max() <= 3


def test_the_same_density_on_different_grids_has_the_same_color():
    both = explanation(np.full((7, 7), 0.7 / 49, np.float32), np.full((10, 14), 0.7 / 140, np.float32))
    query, match = pixels(query_overlay(both)), pixels(match_overlay(both))
    assert np.abs(query[30, 30] - match[30, 30]).max() <= 1


def test_a_zero_map_leaves_the_photo_as_it_is():
    picture = flat_picture(SIZE)
    assert (
        changed(overlay(ImageMap(picture, squashed(SIZE), np.zeros((3, 5), np.float32))), picture).max() == 0
    )


def test_a_given_limit_weakens_the_colors():
    picture, values = flat_picture(SIZE), one_hot((3, 5), (1, 1))
    own = changed(overlay(ImageMap(picture, squashed(SIZE), values)), picture).max()
    wider = changed(overlay(ImageMap(picture, squashed(SIZE), values), limit=4.0), picture).max()
    assert 0 < wider < own / 2


@pytest.mark.parametrize("limit", [-1.0, np.nan, np.inf])
def test_a_limit_that_is_no_range_is_refused(limit):
    with pytest.raises(ValueError, match="limit"):
        overlay(ImageMap(flat_picture(SIZE), squashed(SIZE), np.zeros((3, 5), np.float32)), limit=limit)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="cannot be drawn"):
        query_overlay(explanation(np.full((2, 2), np.nan, np.float32)))


def test_the_geometry_of_another_image_is_refused():
    with pytest.raises(ValueError, match="are query and match exchanged"):
        overlay(ImageMap(flat_picture(SIZE), squashed((9, 9)), np.zeros((2, 2), np.float32)))


def test_an_overlay_is_scaled_down_but_not_up():
    values = np.zeros((2, 2), np.float32)
    large, small = (3000, 1000), (30, 10)
    assert overlay(ImageMap(flat_picture(large), squashed(large), values), max_side=300).size == (100, 300)
    assert overlay(ImageMap(flat_picture(small), squashed(small), values), max_side=300).size == (10, 30)


def test_a_picture_decoded_at_reduced_scale_is_drawn_at_its_original_size():
    picture = Picture(Image.new("RGB", (50, 30)), (60, 100), "a.png")
    assert overlay(ImageMap(picture, squashed((60, 100)), np.zeros((2, 2), np.float32))).size == (100, 60)


def test_a_heat_map_with_a_tiny_spread_uses_the_whole_range():
    values = 1 + 1e-4 * one_hot((3, 5), (1, 1))
    nearly_flat = explanation(values, values + 7, additive=False)
    assert changed(query_overlay(nearly_flat), nearly_flat.query.picture).max() > 150
    assert changed(match_overlay(nearly_flat), nearly_flat.match.picture).max() > 150


def test_a_heat_map_of_negative_values_begins_at_its_lowest():
    values = one_hot((3, 5), (1, 1)) - 2
    image_map = ImageMap(flat_picture(SIZE), squashed(SIZE), values)
    drawn = pixels(overlay(image_map, additive=False, smooth=False))
    assert drawn[30, 30, 0] > drawn[30, 30, 2] + 100  # the highest is orange
    assert (drawn[5, 5] == 128).all()


def test_a_heat_map_with_both_signs_keeps_zero_without_color():
    values = np.array([[0.5, 0.0, -1.0]], np.float32)
    image_map = ImageMap(flat_picture((20, 60)), squashed((20, 60)), values)
    above, zero, below = pixels(overlay(image_map, additive=False, smooth=False))[10, [10, 30, 50]]
    assert above[0] > above[2] and below[2] > below[0]
    assert (zero == 128).all()
    assert np.abs(below - 128).sum() > np.abs(above - 128).sum()  # half as far from zero, half the color


@pytest.mark.parametrize("colors", ["lookalike", "jet"])
def test_rounding_errors_of_a_constant_map_are_not_drawn(colors):
    values = np.full((3, 5), 0.123, np.float32)
    values[1, 1] = np.nextafter(values[1, 1], np.float32(1))
    drawn = overlay(ImageMap(flat_picture(SIZE), squashed(SIZE), values), additive=False, colors=colors)
    assert changed(drawn, flat_picture(SIZE)).max() == 0


def test_jet_has_the_published_look(goldens):
    with np.load(goldens / "published_look.npz") as golden:
        values, photo, expected = golden["values"], golden["photo"], golden["picture"]
    picture = Picture(Image.fromarray(photo), photo.shape[:2], "a.png")
    drawn = pixels(overlay(ImageMap(picture, squashed(photo.shape[:2]), values), colors="jet"))
    off = np.abs(drawn - expected.astype(np.int16)).max(2)
    assert (off > 1).mean() < 0.01  # a value at the edge of two of the 256 colors
    assert off.max() <= 4


def test_jet_draws_each_map_by_its_own_range():
    strong, weak = one_hot((3, 5), (1, 1), 0.9), one_hot((3, 5), (1, 1), 0.0001)
    both = explanation(strong, weak, match_size=(60, 90))
    query, match = (pixels(draw(both, colors="jet")) for draw in (query_overlay, match_overlay))
    assert (query == match).all()


def test_jet_leaves_what_the_model_did_not_see_without_color():
    picture = flat_picture(SIZE, color=(200, 30, 30))
    drawn = pixels(
        overlay(ImageMap(picture, GEOMETRIES["center crop"], one_hot((2, 2), (0, 0))), colors="jet")
    )
    assert np.ptp(drawn[:, :24], axis=2).max() == 0
    assert np.ptp(drawn[4:56, 24:76], axis=2).min() > 50


@pytest.mark.parametrize("how", [{"colors": "jet"}, {"additive": False}])
def test_a_limit_for_a_map_between_its_own_ends_is_refused(how):
    with pytest.raises(ValueError, match="leave it out"):
        overlay(ImageMap(flat_picture(SIZE), squashed(SIZE), one_hot((3, 5), (1, 1))), limit=1.0, **how)


def test_singles_have_the_sources_names_and_the_original_sizes():
    drawn = overlays(explanation(names=("A.png", "folder/B.v2.jpg")))
    assert {name: image.size for name, image in drawn.items()} == {
        "A_simmap_with_B.v2.png": (90, 60),
        "B.v2_simmap_with_A.png": (50, 80),
    }


def test_singles_of_two_pictures_of_one_name_keep_both():
    names = list(overlays(explanation(names=("x/img.png", "y/img.jpg"))))
    assert names == ["img_simmap_with_img.png", "img_simmap_with_img_match.png"]


@pytest.mark.parametrize("name", ["", "..", "/", "a:b\0?.png", "\udcff.png", "é" * 300, "C:\\x\\y.png"])
def test_singles_have_names_that_a_file_system_takes(name, tmp_path):
    for file, image in overlays(explanation(names=(name, name))).items():
        image.save(tmp_path / file)
    assert len(list(tmp_path.iterdir())) == 2
