"""An update is one commit; what earlier versions left half done is healed on opening."""

import os
import shutil

import numpy as np
import pytest

from lookalike.errors import GalleryError
from lookalike.gallery import Gallery
from lookalike.store import Entry, LanceStore
from lookalike.store.records import record_id


def paths_of(gallery):
    return sorted(file.path for record in gallery.records() for file in record.files)


class Stopped(BaseException):
    """Stands for a kill."""


def test_an_update_of_changed_files_is_one_version_of_the_table(mini, photos, tmp_path, monkeypatch):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    shutil.copy(photos / "a" / "two.jpg", photos / "b" / "six.jpg")
    (photos / "a" / "two.jpg").write_bytes((photos / "one.png").read_bytes() + b"\0")
    (photos / "one.png").write_bytes((photos / "b" / "four.webp").read_bytes())
    before = gallery.describe().table_version
    report = gallery.add(photos)
    assert gallery.describe().table_version == before + 1 and report.added == 1
    assert paths_of(gallery) == sorted(str(p) for p in photos.rglob("*.*"))


def test_what_stops_before_the_commit_changes_nothing_and_the_next_run_finishes(
    mini, photos, tmp_path, monkeypatch
):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    (photos / "one.png").write_bytes((photos / "one.png").read_bytes() + b"\0")
    before = list(gallery.records())
    with monkeypatch.context() as patch:
        patch.setattr(LanceStore, "_merge", lambda *_: (_ for _ in ()).throw(Stopped))
        with pytest.raises(Stopped):
            gallery.add(photos)
    assert list(Gallery.open(tmp_path / "g", mini).records()) == before
    assert gallery.add(photos).added == 1 and len(gallery) == 5


@pytest.mark.parametrize("on_disk", [True, False])
def test_doubles_of_an_interrupted_update_are_healed_on_opening(mini, photos, tmp_path, on_disk):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    store = LanceStore(tmp_path / "g", mini.width)
    (old,) = (record for record in store.records() if record.path.endswith("one.png"))
    (photos / "one.png").write_bytes((photos / "one.png").read_bytes() + b"\0")
    os.utime(photos / "one.png", ns=(10**18, old.mtime_ns + 10**9))
    other = Gallery.in_memory(mini)
    other.add(photos / "one.png")
    (new,) = other.records()
    store.add([Entry(new, other.embedding(new.id))])  # as the first of the two commits did
    assert len(store) == 6
    if not on_disk:
        (photos / "one.png").unlink()
    healed = Gallery.open(tmp_path / "g", mini)
    assert len(healed) == 5 and len(set(paths_of(healed))) == 5
    assert new.id in {record.id for record in healed.records()}


def test_rows_that_share_an_id_become_one(mini, photos, tmp_path):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    table = gallery._store._table
    table.add(table.search().limit(2).to_arrow().select(table.schema.names))
    assert len(Gallery.open(tmp_path / "g", mini)) == 5


def test_a_model_that_gives_no_direction_for_an_image_is_reported(mini, photos, monkeypatch):
    gallery = Gallery.in_memory(mini)
    embed = type(mini).embed_pixels

    def zero_first(self, pixels, **options):
        embeddings = embed(self, pixels, **options)
        embeddings[0] = 0
        return embeddings

    monkeypatch.setattr(type(mini), "embed_pixels", zero_first)
    report = gallery.add(photos)
    assert (report.added, len(gallery)) == (4, 4)
    ((path, reason),) = report.unreadable
    assert "points nowhere" in reason and str(photos) in path


@pytest.mark.parametrize("value", [0.0, np.nan, 7.0])
def test_a_stored_number_that_changed_is_said_and_not_ranked(mini, photos, tmp_path, value):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    record = gallery.records()[2]
    vector = np.array(gallery.embedding(record.id))
    vector[0] = value
    damaged = vector * (0 if value == 0 else 1)
    values = "[" + ", ".join(repr(float(x)) if x == x else "cast('NaN' as float)" for x in damaged) + "]"
    gallery._store._table.update(where=f"id = '{record.id}'", values_sql={"embedding": values})
    with pytest.raises(GalleryError, match="check --repair"):
        Gallery.open(tmp_path / "g", mini).search(photos / "one.png")


def test_entries_that_are_not_of_unit_length_are_refused(mini, photos, tmp_path):
    gallery = Gallery.in_memory(mini)
    gallery.add(photos / "one.png")
    (record,) = gallery.records()
    store = LanceStore(tmp_path / "g", mini.width)
    assert record.id == record_id(record.hash)
    for vector in (np.zeros(mini.width), np.full(mini.width, np.nan), 2 * gallery.embedding(record.id)):
        with pytest.raises(ValueError, match="length 1"):
            store.add([Entry(record, vector.astype(np.float32))])
    assert len(store) == 0
