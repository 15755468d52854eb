"""Metadata belongs to the file; forgetting is never a guess; what was forgotten comes back."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

from lookalike.errors import GalleryError
from lookalike.gallery import Gallery, folder_labels, merged_metadata, table_metadata
from lookalike.store import LanceStore


@pytest.fixture
def on_disk(mini, tmp_path):
    return Gallery.create(tmp_path / "g", mini)


def metadata_by_name(gallery):
    return {
        file.path.rsplit("photos/", 1)[1]: dict(file.metadata)
        for record in gallery.records()
        for file in record.files
    }


def test_one_content_in_two_class_folders_keeps_both_labels(on_disk, photos):
    shutil.copy(photos / "a/two.jpg", photos / "b/two.jpg")
    report = on_disk.add(photos, metadata=folder_labels(photos))
    assert (
        len(report.conflicts) == 1 and "has 'a'" in report.conflicts[0] and "has 'b'" in report.conflicts[0]
    )
    for label in ("a", "b"):
        (hit,) = on_disk.search(photos / "a/two.jpg", k=1, where={"label": label})
        assert hit.similarity > 0.999 and hit.path == photos / label / "two.jpg"
        assert hit.metadata == {"label": label}
    on_disk.remove(photos / "a")
    assert metadata_by_name(on_disk)["b/two.jpg"] == {"label": "b"}


def test_a_moved_file_takes_its_own_values_along_and_the_new_folder_counts(on_disk, photos):
    on_disk.add(photos, metadata=lambda path: {"label": path.parent.name, "by": path.stem})
    shutil.copy(photos / "one.png", photos / "b/one again.png")
    (photos / "a/two.jpg").rename(photos / "b/two.jpg")
    report = on_disk.add(photos, metadata=folder_labels(photos), prune=True)
    assert report.moved == ((str(photos / "a/two.jpg"), str(photos / "b/two.jpg")),)
    assert (report.forgotten, report.pruned) == ((str(photos / "a/two.jpg"),), 0)
    found = metadata_by_name(on_disk)
    assert found["b/two.jpg"] == {"label": "b", "by": "two"} and "a/two.jpg" not in found
    assert found["b/one again.png"] == {"label": "b"}  # a copy has its own values only


def test_files_of_a_renamed_folder_keep_their_values_when_the_old_one_is_forgotten(on_disk, photos):
    on_disk.add(photos, metadata=lambda path: {"by": path.stem})
    renamed = photos.rename(photos.with_name("renamed"))
    shutil.copy(renamed / "one.png", renamed / "one again.png")
    report = on_disk.add(renamed)
    assert (report.added, report.moved) == (0, ())  # the old folder may only be away
    assert len(on_disk.records()) == 5 and len(metadata_by_name_below(on_disk, photos)) == 5
    on_disk.remove(photos)
    found = metadata_by_name_below(on_disk, renamed)
    assert found.pop("one again.png") == {}  # a copy under another name
    assert found == {path: {"by": Path(path).stem} for path in found} and len(found) == 5


def metadata_by_name_below(gallery, folder):
    files = (file for record in gallery.records() for file in record.files)
    return {
        str(Path(file.path).relative_to(folder)): dict(file.metadata)
        for file in files
        if Path(file.path).is_relative_to(folder)
    }


def test_a_file_moved_out_of_the_class_folders_loses_the_folders_label(on_disk, photos):
    on_disk.add(photos, metadata=folder_labels(photos))
    (photos / "a/two.jpg").rename(photos / "two.jpg")
    on_disk.add(photos, metadata=folder_labels(photos))
    assert metadata_by_name(on_disk)["two.jpg"] == {}


def test_a_class_folder_that_is_updated_alone_keeps_its_labels(on_disk, photos):
    assert "1 of 5 pictures lie in" in on_disk.add(photos, metadata=folder_labels(photos)).remarks[0]
    (photos / "a/two.jpg").touch()
    report = on_disk.add(photos / "a", metadata=folder_labels(photos / "a"))
    assert "get no label, such as" in report.remarks[0]
    assert metadata_by_name(on_disk)["a/two.jpg"] == {"label": "a"}


def test_a_cell_that_is_emptied_removes_the_value(on_disk, photos):
    table = photos / "table.csv"
    table.write_text("path,label,year\na/two.jpg,cat,2019\none.png,dog,2020\n")
    on_disk.add(photos, metadata=table_metadata(table))
    table.write_text("path,label,year\na/two.jpg,,2019\none.png,dog,2021\n")
    on_disk.add(photos, metadata=table_metadata(table))
    found = metadata_by_name(on_disk)
    assert (found["a/two.jpg"], found["one.png"]) == ({"year": 2019}, {"label": "dog", "year": 2021})
    on_disk.add(photos, metadata=merged_metadata(folder_labels(photos), table_metadata(table)))
    assert metadata_by_name(on_disk)["a/two.jpg"] == {"label": "a", "year": 2019}  # the folder has a value


def test_files_that_swap_names_take_their_values_along(on_disk, photos):
    on_disk.add(photos, metadata=lambda path: {"by": path.name})
    (photos / "b/four.webp").rename(photos / "x")
    (photos / "b/five.bmp").rename(photos / "b/four.webp")
    (photos / "x").rename(photos / "b/five.bmp")
    on_disk.add(photos)
    found = metadata_by_name(on_disk)
    assert found["b/four.webp"] == {"by": "five.bmp"} and found["b/five.bmp"] == {"by": "four.webp"}


def test_a_file_edited_in_place_keeps_its_values(on_disk, photos):
    from lookalike import scenes

    on_disk.add(photos, metadata={"shelf": 4})
    scenes.paint(99, 90).save(photos / "one.png")
    assert on_disk.add(photos).added == 1
    assert metadata_by_name(on_disk)["one.png"] == {"shelf": 4}


def test_records_of_a_table_with_one_object_for_all_files_are_read(mini, photos, tmp_path, monkeypatch):
    """Galleries of older versions stored one object of metadata a content."""
    monkeypatch.setattr("lookalike.store.lance_rows._metadata_text", lambda _record: '{"label": "old"}')
    shutil.copy(photos / "one.png", photos / "copy.png")
    Gallery.create(tmp_path / "old", mini).add(photos)
    monkeypatch.undo()
    found = metadata_by_name(Gallery.open(tmp_path / "old", mini))
    assert found["copy.png"] == found["one.png"] == {"label": "old"}


# --- forgetting -----------------------------------------------------------------------------------


def test_an_emptied_or_missing_root_forgets_nothing(on_disk, photos):
    on_disk.add(photos)
    photos.rename(photos.with_name("away"))
    photos.mkdir()
    report = on_disk.add(photos, prune=True)
    assert (report.pruned, len(on_disk)) == (0, 5) and "is there" in report.not_pruned
    assert report.kept == ((f"{photos} is empty now", 5),)
    photos.rmdir()
    assert on_disk.vanished() == [] and len(on_disk) == 5
    with pytest.raises(GalleryError, match="none of the gallery's 5 files"):
        on_disk.prune()


@pytest.mark.parametrize("marker", [None, ".unmounted"])
def test_a_subfolder_that_is_empty_now_keeps_its_files(on_disk, photos, marker):
    on_disk.add(photos)
    shutil.rmtree(photos / "b")
    (photos / "b").mkdir()
    if marker:
        (photos / "b" / marker).touch()
    report = on_disk.add(photos, prune=True)
    assert (report.pruned, report.kept, len(on_disk)) == (0, ((f"{photos / 'b'} is empty now", 2),), 5)
    assert on_disk.add(photos, prune=True, yes=True).pruned == 2


def test_a_link_to_nothing_keeps_what_lies_behind_it(on_disk, photos):
    shutil.move(photos / "b", photos.with_name("drive"))
    (photos / "b").symlink_to(photos.with_name("drive"))
    on_disk.add(photos)
    photos.with_name("drive").rename(photos.with_name("unplugged"))
    report = on_disk.add(photos, prune=True, yes=True)
    assert len(on_disk) == 5 and "link to nothing" in report.kept[0][0]


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs another user")
@pytest.mark.parametrize("mode", [0o000, 0o444])  # 0o444: names are listed, files can't be seen
def test_a_folder_that_cannot_be_read_keeps_its_files(mini, photos, mode):
    gallery = Gallery.in_memory(mini)
    top = Path(tempfile.mkdtemp())  # which another user can reach
    top.chmod(0o755)
    photos = shutil.copytree(photos, top / "photos")
    gallery.add(photos)
    (photos / "b").chmod(mode)
    as_root = os.geteuid() == 0
    try:
        if as_root:
            os.seteuid(65534)
        report = gallery.add(photos, prune=True, yes=True, workers=0)
    finally:
        if as_root:
            os.seteuid(0)
        (photos / "b").chmod(0o755)
        shutil.rmtree(top)
    assert (report.forgotten, len(gallery)) == ((), 5)
    assert [n for _, n in report.kept] == [2] and "can't be read" in report.kept[0][0]


def test_more_than_half_of_a_gallery_is_asked_for(on_disk, photos):
    on_disk.add(photos)
    for name in ("one.png", "a/two.jpg", "b/five.bmp"):
        (photos / name).unlink()
    assert "more than half" in on_disk.add(photos, prune=True).not_pruned and len(on_disk) == 5
    with pytest.raises(GalleryError, match="more than half of the gallery; nothing was forgotten"):
        on_disk.prune(photos)
    assert on_disk.prune(photos, yes=True) == 3


def test_what_was_forgotten_comes_back_and_what_came_since_stays(on_disk, photos):
    on_disk.add(photos, metadata={"seen": 1})
    before = metadata_by_name(on_disk)
    (photos / "one.png").unlink()
    (photos / "b/five.bmp").unlink()
    on_disk.add(photos, prune=True)
    shutil.copy(photos / "a/two.jpg", photos / "later.png")
    on_disk.add(photos)
    assert sorted(on_disk.restore().forgotten) == [str(photos / "b/five.bmp"), str(photos / "one.png")]
    assert metadata_by_name(on_disk) == before | {"later.png": {}}
    with pytest.raises(GalleryError, match="no earlier version"):
        on_disk.restore()


def test_a_forgotten_copy_comes_back_to_its_record(on_disk, photos):
    shutil.copy(photos / "one.png", photos / "b/one.png")
    on_disk.add(photos, metadata=folder_labels(photos))
    (photos / "b/one.png").unlink()
    on_disk.add(photos, prune=True)
    (photos / "one.png").rename(photos / "a/one.png")  # moved since: not forgotten
    on_disk.add(photos)
    assert on_disk.restore().forgotten == (str(photos / "b/one.png"),)
    assert metadata_by_name(on_disk)["b/one.png"] == {"label": "b"} and len(on_disk) == 5
    assert isinstance(on_disk._store, LanceStore)
