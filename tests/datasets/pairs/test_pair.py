import json
from pathlib import Path

import numpy as np
import pytest

from lookalike.datasets.pairs import ImagePair, KnownImage, mask_of
from lookalike.errors import DatasetError


def test_keys_do_not_depend_on_where_the_data_lies():
    def pair(root):
        query, match = (KnownImage(root / name) for name in ("cats/1.jpg", "dogs/1.jpg"))
        return ImagePair(query, match, "pets", root=root)

    assert pair(Path("/here")).key == pair(Path("there/too")).key == "pets: cats/1.jpg | dogs/1.jpg"


def test_keys_keep_images_of_one_name_in_two_folders_apart():
    images = [KnownImage(Path(f"/data/{folder}/1.jpg")) for folder in ("a", "b")]
    keys = {ImagePair(image, images[0], "x", root=Path("/data")).key for image in images}
    assert len(keys) == 2


def test_images_outside_of_the_root_keep_their_whole_path_in_the_key():
    pair = ImagePair(KnownImage(Path("/far/a.jpg")), KnownImage(Path("/d/b.jpg")), "x", root=Path("/d"))
    assert pair.key == "x: /far/a.jpg | b.jpg"


def test_an_image_of_which_nothing_is_known_has_no_mask(picture):
    assert mask_of(KnownImage(picture("a.jpg")), (5, 7)) is None


def test_a_box_holds_the_pixels_whose_centers_lie_in_it(picture):
    inside = mask_of(KnownImage(picture("a.jpg"), box=(1, 2, 3.4, 4.5)), (5, 7))
    expected = np.zeros((5, 7), dtype=bool)
    expected[2:5, 1:3] = True  # the center of column 3, 3.5, is outside; that of row 4, 4.5, on the edge
    np.testing.assert_array_equal(inside, expected)


def test_a_box_beyond_the_image_is_cut_at_its_edge(picture):
    inside = mask_of(KnownImage(picture("a.jpg"), box=(-3, 3, 99, 99)), (5, 7))
    assert inside.sum() == 2 * 7


@pytest.mark.parametrize("brightest", [1, 90, 255])
def test_pixels_at_least_half_as_bright_as_the_brightest_belong(picture, mask, brightest):
    rows = np.zeros((5, 7))
    rows[1, 4:] = brightest
    rows[2, 0] = brightest * 0.4
    inside = mask_of(KnownImage(picture("a.jpg"), mask=mask("m.png", rows)), (5, 7))
    np.testing.assert_array_equal(inside, rows == brightest)


def test_a_mask_is_preferred_to_a_box(picture, mask):
    rows = np.zeros((5, 7))
    rows[0, 6] = 255
    image = KnownImage(picture("a.jpg"), mask=mask("m.png", rows), box=(0, 0, 7, 5))
    assert np.argwhere(mask_of(image, (5, 7))).tolist() == [[0, 6]]


def test_a_mask_of_another_size_than_its_image_is_refused(picture, mask):
    image = KnownImage(picture("a.jpg"), mask=mask("m.png", np.ones((7, 5))))
    with pytest.raises(DatasetError, match=r"m\.png has 7 x 5 pixels, but its image .*a\.jpg 5 x 7"):
        mask_of(image, (5, 7))


def test_a_mask_that_is_black_is_refused(picture, mask):
    image = KnownImage(picture("a.jpg"), mask=mask("m.png", np.zeros((5, 7))))
    with pytest.raises(DatasetError, match=r"m\.png marks nothing"):
        mask_of(image, (5, 7))


def test_a_mask_that_is_no_image_is_refused(picture, tmp_path):
    (tmp_path / "m.png").write_text("white")
    with pytest.raises(DatasetError, match=r"the mask of .*a\.jpg can't be read"):
        mask_of(KnownImage(picture("a.jpg"), mask=tmp_path / "m.png"), (5, 7))


def outlines(path, *shapes):
    path.write_text(json.dumps({"shapes": [{"points": points} for points in shapes]}))
    return path


def test_outlines_of_labelme_are_filled_and_joined(picture, tmp_path):
    file = outlines(tmp_path / "m.json", [[1, 1], [3, 1], [3, 3], [1, 3]], [[5, 0], [6, 0], [6, 1], [5, 1]])
    inside = mask_of(KnownImage(picture("a.jpg"), mask=file), (5, 7))
    expected = np.zeros((5, 7), dtype=bool)
    expected[1:4, 1:4] = expected[0:2, 5:7] = True
    np.testing.assert_array_equal(inside, expected)


def test_an_outline_of_two_points_is_refused(picture, tmp_path):
    file = outlines(tmp_path / "m.json", [[1, 1], [3, 1], [3, 3]], [[1, 1], [3, 1]])
    with pytest.raises(DatasetError, match=r"m\.json: shape 1 has 2 points"):
        mask_of(KnownImage(picture("a.jpg"), mask=file), (5, 7))


def test_an_outline_with_a_point_of_one_number_is_refused(picture, tmp_path):
    file = outlines(tmp_path / "m.json", [[1], [3, 1], [3, 3]])
    with pytest.raises(DatasetError, match=r"m\.json: an outline's point in shape 0 is not 2 numbers"):
        mask_of(KnownImage(picture("a.jpg"), mask=file), (5, 7))


def test_outlines_without_shapes_mark_nothing(picture, tmp_path):
    with pytest.raises(DatasetError, match=r"m\.json marks nothing"):
        mask_of(KnownImage(picture("a.jpg"), mask=outlines(tmp_path / "m.json")), (5, 7))
