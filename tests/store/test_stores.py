"""One contract for every store, and what only the one on disk can do."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from pyarrow import fs

from lookalike.errors import GalleryError
from lookalike.store import (
    Copy,
    Entry,
    LanceStore,
    Manifest,
    MemoryStore,
    Record,
    read_manifest,
    record_id,
    write_manifest,
)
from lookalike.store.lance_rows import all_ids
from lookalike.store.manifest import has_manifest
from lookalike.store.uris import filesystem_of

D = 7


def entry(number, *, shares=None, **changes):
    digest = f"{number:02x}" * 32
    record = Record(record_id(digest), f"/photos/it's {number}.jpg", digest, 10 + number, number * 10**9)
    return Entry(replace(record, **changes), unit(number, D), shares)


def unit(number, width):
    vector = np.random.default_rng(number).standard_normal(width).astype(np.float32)
    return vector / np.linalg.norm(vector)


@pytest.fixture(params=["memory", "lance", "s3"])
def store_of(request, tmp_path):
    """A function of a width that makes an empty store."""
    if request.param == "s3":
        return partial(LanceStore, f"{request.getfixturevalue('bucket')}/{tmp_path.name}")
    return MemoryStore if request.param == "memory" else partial(LanceStore, tmp_path / "store")


@pytest.fixture
def store(store_of):
    return store_of(D)


def test_an_empty_store_has_nothing(store):
    assert len(store) == 0 and len(store.records()) == 0
    assert store.snapshot().embeddings.shape == (0, D)
    assert list(store.batches()) == [] and store.nearest(entry(1).embedding, 3) == []


def test_what_was_added_comes_back_as_it_was(store):
    whole = entry(
        3, metadata={"label": "Käse", "year": 2019, "tags": ["a", None]}, copies=(Copy("/x.png", 5),)
    )
    assert store.add([whole, entry(4)]) == 2
    assert list(store.records([whole.record.id])) == [whole.record]
    np.testing.assert_array_equal(store.embeddings([whole.record.id])[0], whole.embedding)


def test_adding_twice_adds_once_and_keeps_the_first(store):
    assert store.add([entry(1), entry(1)]) == 1
    assert store.add([entry(1, path="/elsewhere.jpg"), entry(2)]) == 1
    assert len(store) == 2
    assert store.records([entry(1).record.id])[0].path == entry(1).record.path


def test_every_change_is_a_new_version(store):
    versions = [store.version]
    for change in (
        lambda: store.add([entry(1), entry(2)]),
        lambda: store.update([replace(entry(1).record, metadata={"a": 1})]),
        lambda: store.remove([entry(2).record.id]),
    ):
        change()
        versions.append(store.version)
    assert versions == sorted(set(versions))


def test_update_changes_the_record_and_leaves_the_embedding(store):
    store.add([entry(1, shares=b"packed"), entry(2)])
    new = replace(entry(1).record, path="/moved.jpg", metadata={"label": "new"}, copies=(Copy("/c", 1),))
    store.update([new, entry(9).record])
    assert len(store) == 2 and list(store.records([new.id])) == [new]
    np.testing.assert_array_equal(store.embeddings([new.id])[0], entry(1).embedding)
    assert store.shares(new.id) == b"packed"


def test_revising_changes_what_it_finds_or_after_an_error_nothing(store):
    store.add([entry(i) for i in range(3)])
    before = store.records()

    def marked(record):
        return record if record.id == before[0].id else replace(record, metadata={"marked": True})

    changed = store.revise([before[0].id, before[2].id, "unknown"], marked)
    assert [record.id for record in changed] == [before[2].id]
    assert [record.metadata.get("marked") for record in store.records()] == [None, None, True]

    def failing(record):
        if record.id == before[1].id:
            raise KeyError(record.id)
        return replace(record, metadata={})

    with pytest.raises(KeyError):
        store.revise([before[2].id, before[1].id], failing)
    assert store.records([before[2].id])[0].metadata == {"marked": True}


def test_remove_says_how_many_there_were(store):
    store.add([entry(1), entry(2), entry(3)])
    assert store.remove([entry(1).record.id, "' OR 1=1 --", entry(3).record.id]) == 2
    assert [record.id for record in store.records()] == [entry(2).record.id]


def test_records_and_embeddings_come_in_the_order_asked_for(store):
    store.add([entry(n) for n in range(5)])
    ids = [entry(n).record.id for n in (4, 0, 2)]
    assert [record.id for record in store.records([ids[0], "unknown", *ids[1:]])] == ids
    np.testing.assert_array_equal(store.embeddings(ids), np.stack([entry(n).embedding for n in (4, 0, 2)]))
    with pytest.raises(KeyError, match="unknown"):
        store.embeddings([ids[0], "unknown"])


def test_ids_come_in_the_order_of_the_records(store):
    store.add([entry(n) for n in range(5)])
    store.remove([entry(1).record.id])
    store.add([entry(7)])
    assert all_ids(store).to_pylist() == [record.id for record in store.records()]


def test_rows_of_a_snapshot_belong_together(store):
    store.add([entry(n) for n in range(6)])
    store.update([replace(entry(2).record, metadata={"a": 1})])
    snapshot = store.snapshot()
    assert snapshot.version == store.version and len(snapshot.records) == 6
    for record, embedding in zip(snapshot.records, snapshot.embeddings, strict=True):
        np.testing.assert_array_equal(embedding, entry(record.size - 10).embedding)
    ids = [id for piece, _ in store.batches() for id in piece]
    assert ids == [record.id for record in snapshot.records]
    assert snapshot.records[-1].id == ids[-1] and [r.id for r in snapshot.records[1:3]] == ids[1:3]


def test_nearest_gives_cosines_best_first(store):
    store.add([entry(n) for n in range(20)])
    query = entry(7).embedding
    expected = sorted(
        ((float(entry(n).embedding @ query), entry(n).record.id) for n in range(20)), reverse=True
    )
    found = store.nearest(query, 4)
    assert [id for id, _ in found] == [id for _, id in expected[:4]]
    np.testing.assert_allclose([c for _, c in found], [c for c, _ in expected[:4]], atol=1e-5)


def test_shares_are_kept_where_there_are_any(store):
    store.add([entry(1, shares=b"\0\xff"), entry(2)])
    assert store.shares(entry(1).record.id) == b"\0\xff"
    assert store.shares(entry(2).record.id) is None and store.shares("unknown") is None


def test_optimizing_keeps_the_content(store):
    for n in range(5):
        store.add([entry(n)])
    store.optimize()
    assert {r.id for r in store.records()} == {entry(n).record.id for n in range(5)}


@pytest.mark.parametrize("width", [D, 16])  # the index takes multiples of 8; others are scanned
def test_an_index_finds_the_same_and_what_is_added_later(store_of, width):
    """Twenty candidates for each result are scored exactly: among 200 records nothing is missed."""
    store = store_of(width)
    entries = [replace(entry(n), embedding=unit(n, width)) for n in range(220)]
    store.add(entries[:200])
    assert store.build_index() == 200
    store.add(entries[200:])
    store.remove([entries[7].record.id])
    store.update([replace(entries[5].record, metadata={"a": 1})])
    assert store.records([entries[5].record.id])[0].metadata == {"a": 1}
    assert store.add([entries[5], entries[210]]) == 0 and len(store) == 219
    for n in (5, 217):
        query = unit(n, width)
        expected = sorted((float(unit(i, width) @ query) for i in range(220) if i != 7), reverse=True)
        found = store.nearest(query, 10)
        assert found[0][0] == entries[n].record.id
        np.testing.assert_allclose([cosine for _, cosine in found], expected[:10], atol=1e-5)


def test_a_vector_of_another_width_is_refused(store):
    with pytest.raises(ValueError, match="width 7"):
        store.add([replace(entry(1), embedding=np.ones(3, np.float32))])


# --- on disk and at s3:// -------------------------------------------------------------------------


def test_another_process_sees_what_was_added(place):
    store = LanceStore(place, D)
    other = LanceStore(place, D)
    store.add([entry(1)])
    assert len(other) == 1 and other.version == store.version


def test_two_writers_by_turns_add_no_id_twice(place):
    store, other = LanceStore(place, D), LanceStore(place, D)
    assert store.add([entry(1)]) == 1 and other.add([entry(1), entry(2)]) == 1
    store.update([replace(entry(1).record, metadata={"a": 1})])  # a commit that looks at no id
    assert store.add([entry(2), entry(3)]) == 1
    assert other.remove([entry(3).record.id, entry(1).record.id]) == 2
    assert other.add([entry(3), entry(4)]) == 2 and store.add([entry(4), entry(1)]) == 1
    other.optimize()
    assert store.add([entry(n) for n in range(6)]) == 2 and other.add([entry(n) for n in range(6)]) == 0
    assert sorted(record.id for record in store.records()) == sorted(entry(n).record.id for n in range(6))


def test_ids_that_share_a_hash_are_all_added_once(tmp_path, monkeypatch):
    monkeypatch.setattr("lookalike.store.known_ids._number", lambda _: 5)
    store = LanceStore(tmp_path, D)
    assert [store.add([entry(n) for n in chosen]) for chosen in ((1, 2), (2, 3), (1, 2, 3))] == [2, 1, 0]


def test_a_table_of_another_width_is_refused(place):
    LanceStore(place, D)
    with pytest.raises(GalleryError, match="8 dimensions"):
        LanceStore(place, 8)


def test_two_processes_that_add_the_same_add_it_once(tmp_path):
    store = LanceStore(tmp_path, D)
    code = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from test_stores import *\n"
        "store = LanceStore(sys.argv[1], D)\n"
        "for n in range(0, 20, 4): store.add([entry(m) for m in range(n, n + 4)])\n"
    )
    folder = str(__import__("pathlib").Path(__file__).parent)
    others = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), folder]) for _ in range(2)]
    assert [other.wait() for other in others] == [0, 0]
    ids = [record.id for record in store.records()]
    assert len(ids) == len(set(ids)) == 20


MANIFEST = Manifest(
    model="mini", model_name="mini", fingerprint="f" * 64, preprocessing={"mode": "squash"}, width=D,
    precision="fp32", version="0.1.0", created="2026-01-01T00:00:00+00:00",
)  # fmt: skip


def test_a_manifest_comes_back_as_it_was(place):
    uri = f"{place}/new/gallery"
    assert not has_manifest(uri)
    write_manifest(uri, MANIFEST)
    write_manifest(uri, replace(MANIFEST, keep_shares=True))
    assert has_manifest(uri) and read_manifest(uri) == replace(MANIFEST, keep_shares=True)
    filesystem, path = filesystem_of(uri)
    found = filesystem.get_file_info(fs.FileSelector(path))
    assert [each.base_name for each in found] == ["gallery.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 1}', "\0\xff", '{"format": 2}'])
def test_a_damaged_manifest_is_one_sentence(place, text):
    filesystem, path = filesystem_of(place)
    with filesystem.open_output_stream(f"{path}/gallery.json") as file:
        file.write(text.encode())
    with pytest.raises(GalleryError, match=r"damaged|format"):
        read_manifest(place)


def test_what_is_no_gallery_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text(json.dumps({}))
    for uri in (tmp_path, tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(GalleryError, match="no gallery"):
            read_manifest(uri)


@pytest.mark.parametrize("uri", ["memory://g", "nosuch://g/x", "file://elsewhere/x"])
def test_a_place_that_can_not_be_reached_is_one_sentence(uri):
    for ask in (has_manifest, read_manifest):
        with pytest.raises(GalleryError, match=r"give a folder|check the path") as refused:
            ask(uri)
        assert "\n" not in str(refused.value)


def test_an_address_is_a_place_like_a_folder(tmp_path):
    folder = tmp_path / "a b"
    uri = folder.as_uri()
    assert not has_manifest(uri)
    write_manifest(uri, MANIFEST)
    LanceStore(uri, D).add([entry(1), entry(2)])
    assert has_manifest(folder) and read_manifest(folder) == MANIFEST
    assert len(LanceStore(folder, D)) == 2 and (folder / ".writing.lock").exists()
