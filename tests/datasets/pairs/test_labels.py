import pytest

from lookalike.datasets.pairs import read_pairs
from lookalike.errors import DatasetError


def names(pairs):
    return {(p.query.path.name, p.match.path.name) for p in pairs}


def test_class_folders_give_pairs_within_a_class(tmp_path, picture):
    for name in ("cat/a.jpg", "cat/b.jpg", "dog/a.jpg", "dog/c.jpg", "fox/d.jpg"):
        picture(name)
    pairs = read_pairs(tmp_path, limit=10)
    assert {p.query.path.parent.name for p in pairs} == {"cat", "dog"}  # the only fox has no match
    assert all(p.query.label == p.match.label == p.match.path.parent.name for p in pairs)
    assert {p.source for p in pairs} == {tmp_path.name}


def test_pairs_come_from_the_test_split(tmp_path, picture):
    for split in ("train", "test"):
        for name in "ab":
            picture(f"{split}/cat/{split}_{name}.jpg")
    (pair,) = read_pairs(tmp_path, limit=10)
    assert {pair.query.path.name, pair.match.path.name} == {"test_a.jpg", "test_b.jpg"}


def test_queries_of_lists_match_the_gallery_only(tmp_path, picture):
    for name in ("a.jpg", "b.jpg", "c.jpg", "d.jpg"):
        picture(name)
    (tmp_path / "query.txt").write_text("a.jpg cat\nb.jpg cat\n")
    (tmp_path / "gallery.txt").write_text("c.jpg cat\nd.jpg dog\n")
    assert names(read_pairs(tmp_path, limit=10)) == {("a.jpg", "c.jpg"), ("b.jpg", "c.jpg")}


def test_a_table_of_labels_gives_pairs_under_its_own_name(tmp_path, picture):
    for name in ("a.jpg", "b.jpg"):
        picture(name)
    (tmp_path / "shoes.csv").write_text("path,label\na.jpg,7\nb.jpg,7\n")
    (pair,) = read_pairs(tmp_path / "shoes.csv", limit=10)
    assert (pair.source, pair.query.label) == ("shoes", "7")


def test_classes_of_one_image_each_hold_no_pair(tmp_path, picture):
    picture("cat/a.jpg")
    picture("dog/b.jpg")
    with pytest.raises(DatasetError, match=r"holds no two images that match, read in the layout 'labels'"):
        read_pairs(tmp_path, limit=1)


@pytest.mark.weights
def test_birds_cropped_give_pairs_of_fifty_test_classes(shared):
    pairs = read_pairs(shared / "data/birds_cropped", limit=100)
    assert len({p.query.label for p in pairs}) == 50
    assert all("test" in p.query.path.parts and p.query.label == p.match.label for p in pairs)
