"""An update is one commit; what earlier versions left half done is healed on opening."""

import errno
import os
import shutil
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from lookalike.errors import GalleryError
from lookalike.gallery import Gallery
from lookalike.gallery.healing import may_have_doubles
from lookalike.store import Entry, LanceStore, read_manifest, write_manifest
from lookalike.store.records import record_id


def paths_of(gallery):
    return sorted(file.path for record in gallery.records() for file in record.files)


def as_of_an_earlier_version(folder):
    manifest = read_manifest(folder)
    write_manifest(folder, replace(manifest, version="0.1.0"))


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
    as_of_an_earlier_version(tmp_path / "g")
    healed = Gallery.open(tmp_path / "g", mini)
    assert len(healed) == 5 and len(set(paths_of(healed))) == 5
    assert new.id in {record.id for record in healed.records()}


def test_rows_that_share_an_id_become_one(mini, photos, tmp_path):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    table = gallery._store._table
    table.add(table.search().limit(2).to_arrow().select(table.schema.names))
    now = Gallery.open(tmp_path / "g", mini)
    assert len(now) == 7 and {each.part for each in now.check().findings} == {"doubles"}
    as_of_an_earlier_version(tmp_path / "g")
    assert len(Gallery.open(tmp_path / "g", mini)) == 5


def test_only_galleries_that_may_have_doubles_are_read_for_them(mini, photos, tmp_path, monkeypatch):
    Gallery.create(tmp_path / "g", mini).add(photos)
    monkeypatch.setattr(LanceStore, "doubled", lambda _: pytest.fail("reads the paths of all rows"))
    assert len(Gallery.open(tmp_path / "g", mini)) == 5
    assert may_have_doubles(read_manifest(tmp_path / "g"), "s3://bucket/g")


def test_a_model_that_gives_no_direction_for_an_image_is_reported(mini, photos, monkeypatch):
    gallery = Gallery.in_memory(mini)
    embed = type(mini).embed_pixels

    def zero_first(self, pixels, **options):
        embeddings = embed(self, pixels, **options).clone()
        embeddings[0] = 0
        return embeddings

    monkeypatch.setattr(type(mini), "embed_pixels", zero_first)
    report = gallery.add(photos)
    assert (report.added, len(gallery)) == (4, 4)
    ((path, reason),) = report.unreadable
    assert "points nowhere" in reason and str(photos) in path


def damaged(gallery, path, change):
    """Change the stored embedding of a file behind the gallery's back; return the record."""
    (record,) = (r for r in gallery.records() if r.path.endswith(path))
    table = gallery._store._table
    vector = change(np.array(gallery.embedding(record.id)))
    rows = pa.FixedSizeListArray.from_arrays(pa.array(vector, pa.float32()), len(vector))
    table.merge_insert("id").when_matched_update_all().execute(
        pa.table({"id": [record.id], "embedding": rows}), on_bad_vectors="fill", fill_value=float("nan")
    )  # a vector with one NaN, which LanceDB takes no more, becomes one of NaNs only
    return record


def first_is(value):
    def change(vector):
        vector[0] = value
        return vector

    return change


@pytest.mark.parametrize("change", [np.zeros_like, first_is(np.nan), first_is(7.0)])
def test_a_stored_number_that_changed_is_said_not_ranked_and_repaired(mini, photos, tmp_path, change):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos, metadata={"kept": 1})
    right = gallery.search(photos / "one.png")
    record = damaged(gallery, "three.png", change)
    reopened = Gallery.open(tmp_path / "g", mini)
    with pytest.raises(GalleryError, match=r"check -g .* --repair"):
        reopened.search(photos / "one.png")
    report = reopened.check()
    assert not report.is_sound and [(f.part, f.examples) for f in report.findings] == [
        ("norms", (record.id,))
    ]
    repaired = reopened.check(repair=True)
    assert repaired.is_sound and reopened.check().findings == ()
    again = reopened.search(photos / "one.png")
    assert [(hit.id, hit.metadata) for hit in again] == [(hit.id, hit.metadata) for hit in right]
    np.testing.assert_allclose([h.similarity for h in again], [h.similarity for h in right], atol=1e-5)


@pytest.mark.parametrize("change", ["removed", "cut"])
def test_a_file_of_the_table_that_is_gone_or_cut_is_one_sentence(mini, photos, tmp_path, change):
    gallery = Gallery.create(tmp_path / "g.gallery", mini)
    gallery.add(photos, workers=0)
    (data,) = (tmp_path / "g.gallery" / "images.lance" / "data").iterdir()
    if change == "removed":
        data.unlink()
    else:
        data.write_bytes(data.read_bytes()[:-40])

    uses = (lambda g: g.search(photos / "b" / "five.bmp"), lambda g: g.add(photos, workers=0))
    for use in uses:
        with pytest.raises(GalleryError, match="is damaged, a file of its table can't be read") as said:
            use(Gallery.open(tmp_path / "g.gallery", mini))
        assert ".rs" not in str(said.value) and "\n" not in str(said.value)


def test_a_damaged_embedding_without_its_file_is_removed_and_said(mini, photos, tmp_path):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    record = damaged(gallery, "three.png", np.zeros_like)
    (photos / "a" / "deep" / "three.png").write_bytes(b"another content")
    (finding,) = (f for f in gallery.check(repair=True).findings if f.part == "norms")
    assert "removed" in finding.problem and finding.examples == (record.path,) and len(gallery) == 4


def test_numbers_of_length_1_that_are_not_those_of_the_image_are_found(mini, photos, tmp_path):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    record = damaged(gallery, "two.jpg", lambda vector: -vector)
    (finding,) = gallery.check().findings
    assert (finding.part, finding.examples) == ("fingerprints", (record.path,))


def test_a_sound_gallery_has_no_findings_and_changed_files_are_no_damage(mini, photos, tmp_path):
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    assert gallery.check(contents=True).findings == ()
    (photos / "one.png").unlink()
    status = (photos / "b" / "five.bmp").stat()
    data = bytearray((photos / "b" / "five.bmp").read_bytes())
    data[-1] ^= 1
    (photos / "b" / "five.bmp").write_bytes(data)
    os.utime(photos / "b" / "five.bmp", ns=(status.st_atime_ns, status.st_mtime_ns))
    report = gallery.check(contents=True)
    assert report.is_sound and [finding.n for finding in report.findings] == [1, 1]
    assert [f.examples[0] for f in gallery.check().findings] == [str(photos / "one.png")]


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


@pytest.mark.parametrize("fails", ["index", "ids"])
def test_an_accelerator_that_finds_no_room_is_one_sentence_and_leaves_the_former(
    mini, photos, tmp_path, monkeypatch, fails
):
    faiss = pytest.importorskip("faiss")
    gallery = Gallery.create(tmp_path / "g", mini)
    gallery.add(photos)
    gallery.optimize()
    before = sorted(path.name for path in (tmp_path / "g" / "accelerator").rglob("*"))
    full = os.strerror(errno.ENOSPC)
    gallery.remove([photos / "one.png", photos / "a" / "two.jpg"])  # so many that it has to be built again

    def no_room(*_):
        raise RuntimeError(f"Error in faiss: {full}") if fails == "index" else OSError(errno.ENOSPC, full)

    place = (faiss, "write_index") if fails == "index" else (np, "save")
    with monkeypatch.context() as patch:
        patch.setattr(*place, no_room)
        with pytest.raises(GalleryError, match="free some space"):
            gallery.optimize()
    assert sorted(path.name for path in (tmp_path / "g" / "accelerator").rglob("*")) == before
    gallery.optimize()
    assert gallery.check().findings == ()
