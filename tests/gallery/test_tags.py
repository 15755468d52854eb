"""Tags: in the metadata of every file of a picture, searched by filters, and not lost."""

import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from lookalike import scenes
from lookalike.errors import GalleryError
from lookalike.gallery import Gallery


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "pictures"
    made.mkdir()
    for i in range(3):
        scenes.paint(i, 64).save(made / f"{i}.png")
    shutil.copy(made / "0.png", made / "again.png")
    return made


@pytest.fixture
def gallery(folder, mini, tmp_path):
    made = Gallery.create(tmp_path / "g.gallery", mini)
    made.add(folder, workers=0, metadata=lambda path: {"name": path.stem})
    return made


def tags(gallery):
    """Tags by the name of each file."""
    return {f.metadata["name"]: f.metadata.get("tags") for r in gallery.records() for f in r.files}


def id_of(gallery, name):
    return next(r.id for r in gallery.records() if name in [f.metadata["name"] for f in r.files])


def test_tags_belong_to_all_files_of_a_picture_and_are_found_by_a_filter(gallery):
    first, second = id_of(gallery, "0"), id_of(gallery, "1")
    changed = gallery.tag([first, second], add=[" red ", "old", "red"])
    assert {record.id for record in changed} == {first, second}
    assert tags(gallery) == {"0": ["red", "old"], "again": ["red", "old"], "1": ["red", "old"], "2": None}
    assert {hit.id for hit in gallery.search(first, where='"red" in tags')} == {first, second}
    assert [record.id for record in gallery.tag(second, add=["new"], remove=["red", "old"])] == [second]
    assert tags(gallery)["1"] == ["new"]
    gallery.tag(second, remove=["new"])
    assert "tags" not in gallery.records([second])[0].metadata
    assert gallery.tag(second, remove=["new"]) == []


def test_tags_survive_an_update_a_renamed_file_and_another_program_that_opens_the_gallery(gallery, folder):
    gallery.tag([record.id for record in gallery.records()], add=["kept"])
    (folder / "1.png").rename(folder / "renamed.png")
    gallery.update(folder, workers=0, metadata=lambda path: {"name": path.stem})
    assert tags(Gallery.open(gallery.uri)) == {
        "0": ["kept"], "again": ["kept"], "renamed": ["kept"], "2": ["kept"],
    }  # fmt: skip


def test_of_tags_that_several_give_at_once_none_is_lost(gallery):
    others = [gallery, Gallery.open(gallery.uri)]  # the second locks as another process does
    id = id_of(gallery, "0")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda i: others[i % 2].tag(id, add=[f"t{i}"]), range(8)))
    assert set(tags(gallery)["0"]) == {f"t{i}" for i in range(8)}


def test_wrong_tags_and_unknown_pictures_change_nothing(gallery):
    id = id_of(gallery, "0")
    for add, reason in (
        (["x" * 61], "60 characters"),
        (["a\nb"], "printable"),
        ([f"t{i}" for i in range(31)], "up to 30"),
        ("text", "list"),
        ([" "], "no tags"),
    ):
        with pytest.raises(ValueError, match=reason):
            gallery.tag(id, add=add)
    gallery.tag(id, add=[f"t{i}" for i in range(30)])
    with pytest.raises(ValueError, match="can have 30"):
        gallery.tag([id_of(gallery, "1"), id], add=["more"])
    with pytest.raises(GalleryError, match="no image"):
        gallery.tag([id_of(gallery, "1"), "0" * 20], add=["more"])
    assert tags(gallery)["1"] is None and len(tags(gallery)["0"]) == 30


def test_a_text_is_one_tag_and_a_number_is_refused(folder, mini):
    made = Gallery.in_memory(mini)
    values = {"0": "one tag", "again": "one tag", "1": 7, "2": ""}
    made.add(folder, workers=0, metadata=lambda path: {"name": path.stem, "tags": values[path.stem]})
    made.tag([id_of(made, "0"), id_of(made, "2")], add=["b"])
    assert tags(made)["again"] == ["one tag", "b"] and tags(made)["2"] == ["b"]
    with pytest.raises(GalleryError, match=r"field tags of 1\.png"):
        made.tag(id_of(made, "1"), add=["b"])
