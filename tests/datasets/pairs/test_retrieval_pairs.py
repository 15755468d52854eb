import json

import numpy as np
import pytest
from PIL import Image

from lookalike.datasets.pairs import mask_of, read_pairs
from lookalike.errors import DatasetError


@pytest.fixture
def paintings(tmp_path, picture, mask):
    """Two queries, of which the second has a mask and two relevant paintings."""
    for name in ("queries/q1.jpg", "queries/q2.jpg", "gallery/g1.jpg", "gallery/g2.jpg", "gallery/g3.jpg"):
        picture(name)
    mask("masks/q2.png", np.ones((5, 7)))
    relevant = {"q1.jpg": ["g3.jpg"], "q2.jpg": ["g1.jpg", "g2.jpg"]}
    (tmp_path / "relevant.json").write_text(json.dumps(relevant))
    return tmp_path


def names(pairs):
    return {(p.query.path.name, p.match.path.name) for p in pairs}


def test_queries_match_what_is_relevant_for_them(paintings):
    expected = {("q1.jpg", "g3.jpg"), ("q2.jpg", "g1.jpg"), ("q2.jpg", "g2.jpg")}
    assert names(read_pairs(paintings, limit=10)) == expected
    assert {p.query.path.name for p in read_pairs(paintings, limit=2)} == {"q1.jpg", "q2.jpg"}


def test_masks_belong_to_images_of_their_name(paintings):
    masks = {p.query.path.name: p.query.mask for p in read_pairs(paintings, limit=10)}
    assert masks == {"q1.jpg": None, "q2.jpg": paintings / "masks/q2.png"}


def test_a_mask_of_a_name_that_query_and_painting_share_is_the_querys(tmp_path, picture, mask):
    picture("queries/a.jpg")
    picture("gallery/a.jpg")
    mask("masks/a.png", np.ones((5, 7)))
    (tmp_path / "relevant.json").write_text('{"a.jpg": ["a.jpg"]}')
    (pair,) = read_pairs(tmp_path, limit=2)
    assert (pair.query.mask, pair.match.mask) == (tmp_path / "masks/a.png", None)


def test_masks_in_subfolders_belong_to_each_side(paintings, mask):
    (paintings / "masks/q2.png").unlink()
    mask("masks/gallery/g3.png", np.ones((5, 7)))
    masks = {p.match.path.name: p.match.mask for p in read_pairs(paintings, limit=10)}
    assert masks == {"g1.jpg": None, "g2.jpg": None, "g3.jpg": paintings / "masks/gallery/g3.png"}


def test_without_a_list_subfolders_of_one_name_match(tmp_path, picture):
    for name in ("queries/sofa/1.jpg", "queries/lamp/1.jpg", "gallery/sofa/8.jpg", "gallery/desk/9.jpg"):
        picture(name)
    (pair,) = read_pairs(tmp_path, limit=10)
    assert (pair.query.label, pair.query.path.name, pair.match.path.name) == ("sofa", "1.jpg", "8.jpg")


def test_without_a_list_and_subfolders_there_is_an_error(paintings):
    (paintings / "relevant.json").unlink()
    with pytest.raises(DatasetError, match=r"has no relevant\.json, and not all of its images lie in"):
        read_pairs(paintings, limit=10)


@pytest.mark.parametrize("content", ['{"q1.jpg": "g1.jpg"}', '{"q1.jpg": [1]}'])
def test_a_malformed_list_names_file_and_query(paintings, content):
    (paintings / "relevant.json").write_text(content)
    with pytest.raises(DatasetError, match=r"relevant\.json: 'q1\.jpg' has .*, not a list of names"):
        read_pairs(paintings, limit=10)


def test_a_listed_image_that_is_missing_is_named(paintings):
    (paintings / "gallery/g3.jpg").unlink()
    with pytest.raises(DatasetError, match=r"gallery/g3\.jpg, listed in .*relevant\.json, is missing"):
        read_pairs(paintings, limit=10)


@pytest.mark.weights
def test_real_paintings_are_sixty_pairs_and_thirty_have_masks_of_their_size(shared):
    pairs = read_pairs(shared / "data/paintings", limit=1000)
    assert len(pairs) == len({p.query.path for p in pairs}) == 60
    masked = [p.query for p in pairs if p.query.mask]
    assert len(masked) == 30
    for query in masked:
        with Image.open(query.path) as image:
            assert 0.05 < mask_of(query, (image.height, image.width)).mean() < 0.95
    matches = {p.query.path.name: p.match.path.name for p in pairs}
    assert matches["qsd2_w1_00029.jpg"] == "bbdd_00067.jpg"
