import numpy as np
import pytest
from PIL import Image

from lookalike.datasets.pairs import mask_of, read_pairs
from lookalike.datasets.pairs.masked import labels_of_names
from lookalike.errors import DatasetError


@pytest.fixture
def masked(tmp_path, picture, mask):
    """Two labels of two images; the mask of each has one bright column, another one for each image."""
    for column, stem in enumerate(("monarch_01", "monarch_02", "zebra_01", "zebra_02")):
        picture(f"images/{stem}.jpg")
        rows = np.zeros((5, 7))
        rows[:, column] = 255
        mask(f"masks/{stem}_seg0.png", rows)
    return tmp_path


def test_images_of_one_label_match_and_have_their_own_mask(masked):
    pairs = read_pairs(masked, limit=10)
    assert sorted(p.query.label for p in pairs) == ["monarch", "zebra"]
    columns = {"monarch_01": 0, "monarch_02": 1, "zebra_01": 2, "zebra_02": 3}
    for pair in pairs:
        for image in (pair.query, pair.match):
            assert set(np.argwhere(mask_of(image, (5, 7)))[:, 1]) == {columns[image.path.stem]}


def test_an_image_without_mask_is_named(masked):
    (masked / "masks/zebra_01_seg0.png").unlink()
    with pytest.raises(DatasetError, match=r"1 of 4 images .* no mask, e\.g\. zebra_01\.jpg"):
        read_pairs(masked, limit=1)


def test_two_masks_of_one_image_are_refused(masked, mask):
    mask("masks/zebra_01.png", np.ones((5, 7)))
    with pytest.raises(DatasetError, match=r"zebra_01\.png and .*zebra_01_seg0\.png are both masks"):
        read_pairs(masked, limit=1)


def test_a_mask_belongs_to_the_longest_name_that_begins_its_own(tmp_path, picture, mask):
    for stem in ("x/a", "x/a_1", "y/b", "y/c"):
        picture(f"images/{stem}.jpg")
        mask(f"masks/{stem}_seg0.png", np.ones((5, 7)))
    pairs = read_pairs(tmp_path, limit=10)
    images = {image.path.stem: image for p in pairs for image in (p.query, p.match)}
    assert {stem: image.mask.name for stem, image in images.items()} == {
        "a": "a_seg0.png", "a_1": "a_1_seg0.png", "b": "b_seg0.png", "c": "c_seg0.png",
    }  # fmt: skip
    assert images["a_1"].label == "x"


def test_the_numbering_in_names_of_digits_starts_after_the_shortest_beginning_that_shares_it():
    stems = ["0010001", "0010002", "0020001", "0020002", "0100001", "0100002", "0100003"]
    assert labels_of_names(stems) == ("001", "001", "002", "002", "010", "010", "010")


def test_names_lose_all_numbers_at_their_end():
    stems = ["Acadian_Flycatcher_0010_29199", "Acadian_Flycatcher_0032_7", "American-Crow-3"]
    assert labels_of_names(stems) == ("Acadian_Flycatcher", "Acadian_Flycatcher", "American-Crow")


@pytest.mark.parametrize(
    "stems", [["img_1", "img_2"], ["101", "205", "309"], ["1", "22"], ["a_1", "77"]]
)  # one label, no numbering that is shared, two lengths, a name without label
def test_names_that_tell_no_labels_are_refused(stems):
    with pytest.raises(ValueError, match="put the images of each label into a subfolder"):
        labels_of_names(stems)


def test_the_error_of_names_that_tell_no_labels_names_the_folder(tmp_path, picture, mask):
    for stem in ("img_1", "img_2"):
        picture(f"images/{stem}.jpg")
        mask(f"masks/{stem}.png", np.ones((5, 7)))
    with pytest.raises(DatasetError, match=r"images: its names do not tell labels"):
        read_pairs(tmp_path, limit=1)


@pytest.mark.weights
def test_butterflies_are_of_ten_species_and_their_masks_mark_a_part_of_the_image(shared):
    pairs = read_pairs(shared / "data/butterflies", limit=832)
    assert {p.query.label for p in pairs} == {f"{i:03}" for i in range(1, 11)}
    assert {p.query.path.name[:3] == p.query.label == p.match.label for p in pairs} == {True}
    for pair in pairs[:20]:
        with Image.open(pair.query.path) as image:
            assert 0.02 < mask_of(pair.query, (image.height, image.width)).mean() < 0.9
