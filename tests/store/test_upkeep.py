"""The table on disk stays near the size of its live rows, and what was forgotten can be read for a week."""

import os
from dataclasses import replace

import numpy as np
import pytest

from lookalike.store import Copy, Entry, LanceStore, Record, record_id
from lookalike.store.upkeep import Upkeep

WIDTH = 64
SLACK = 2**18  # bytes that a table of few rows may take besides


def entries(first, n, shares=None):
    rng = np.random.default_rng(first)
    vectors = rng.standard_normal((n, WIDTH)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    made = []
    for number, vector in zip(range(first, first + n), vectors, strict=True):
        digest = f"{number:064x}"[::-1]
        made.append(
            Entry(Record(record_id(digest), f"/p/{number}.jpg", digest, number, number), vector, shares)
        )
    return made


def size_of(folder):
    return sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())


def live_bytes(tmp_path, store):
    """Bytes of a table that was written at once with the same rows."""
    fresh = LanceStore(tmp_path / "fresh", WIDTH)
    ids = [record.id for record in store.records()]
    vectors = store.embeddings(ids)
    fresh.add([Entry(r, v) for r, v in zip(store.records(), vectors, strict=True)])
    return size_of(tmp_path / "fresh")


@pytest.mark.parametrize("portion", [1, 40])
def test_many_small_additions_stay_near_the_size_of_the_rows(tmp_path, portion):
    store = LanceStore(tmp_path / "g", WIDTH)
    n = 160 if portion == 1 else 4000
    sizes = []
    for first in range(0, n, portion):
        store.add(entries(first, portion))
        sizes.append(size_of(tmp_path / "g"))
    assert len(store) == n
    row = live_bytes(tmp_path, store) / n
    assert max(size - 1.5 * row * portion * k for k, size in enumerate(sizes, 1)) <= SLACK


def test_rows_written_anew_again_and_again_stay_near_their_size(tmp_path):
    store = LanceStore(tmp_path / "g", WIDTH)
    made = entries(0, 2000)
    store.add(made)
    for turn in range(24):
        store.update([replace(entry.record, metadata={"turn": turn}) for entry in made])
    assert {record.metadata["turn"] for record in store.records()} == {23}
    assert size_of(tmp_path / "g") <= 1.5 * live_bytes(tmp_path, store) + SLACK


def test_what_was_forgotten_outlives_its_version_of_the_table_for_a_week(tmp_path):
    store = LanceStore(tmp_path / "g", WIDTH)
    made = entries(0, 50, shares=b"packed")
    store.add(made)
    before = store.version
    store.remove([entry.record.id for entry in made[:20]])
    store.optimize()
    assert len(store._table.list_versions()) == 1 and before in dict(store.versions())
    lost = store.entries_at(before, [entry.record.id for entry in made[5:30]])
    assert {e.record for e in lost} == {e.record for e in made[5:20]} and lost[0].shares == b"packed"
    assert len(store.records_at(before)) == 20
    (kept,) = (tmp_path / "g" / "forgotten").iterdir()
    week_ago = kept.stat().st_mtime - 8 * 86400
    os.utime(kept, (week_ago, week_ago))
    store.remove([made[30].record.id])
    assert before in dict(store.versions())  # the newest stay, however late a clock says that it is
    store.remove([made[31].record.id])
    store.remove([made[32].record.id])
    store.remove([made[33].record.id])
    assert before not in dict(store.versions()) and len(list((tmp_path / "g" / "forgotten").iterdir())) == 4


def test_what_cannot_be_dropped_does_not_make_a_table_be_compacted_at_every_commit(tmp_path, monkeypatch):
    store = LanceStore(tmp_path / "g", WIDTH)
    store.add(entries(0, 400))
    stays = tmp_path / "g" / "images.lance" / "data" / "of-a-version-of-a-clock-that-was-ahead.lance"
    stays.write_bytes(bytes(8 * size_of(tmp_path / "g")))
    n_tidied, tidy = [], Upkeep.tidy
    monkeypatch.setattr(Upkeep, "tidy", lambda self, table: (n_tidied.append(1), tidy(self, table)))
    for first in range(400, 800, 10):
        store.add(entries(first, 10))
    assert stays.exists() and 1 <= len(n_tidied) <= 3


def test_a_record_that_loses_one_of_its_files_is_kept_and_other_changes_are_not(tmp_path):
    store = LanceStore(tmp_path / "g", WIDTH)
    (entry,) = entries(0, 1)
    both = entry.record.with_files([*entry.record.files, Copy("/p/copy.jpg", 5, {})])
    store.add([replace(entry, record=both)])
    store.update([replace(both, metadata={"label": "x"})])
    assert not (tmp_path / "g" / "forgotten").exists()
    before = store.version
    store.update([entry.record])
    store.optimize()
    ((kept,),) = (store.records_at(version) for version, _ in store.versions() if version == before)
    assert [file.path for file in kept.files] == ["/p/0.jpg", "/p/copy.jpg"]


def test_forgetting_and_adding_day_after_day_stays_near_the_size_of_the_rows(tmp_path):
    store = LanceStore(tmp_path / "g", WIDTH)
    made = entries(0, 1000)
    store.add(made)
    for day in range(40):
        store.update([replace(entry.record, metadata={"day": day}) for entry in made[100:]])
        store.remove([entry.record.id for entry in made[:10]])
        store.add(made[:10])
    assert size_of(tmp_path / "g" / "images.lance") <= 1.5 * live_bytes(tmp_path, store) + SLACK
    assert len(list((tmp_path / "g" / "forgotten").iterdir())) <= 32


def test_a_reader_of_a_compacted_table_reads_on(tmp_path):
    reader, writer = (LanceStore(tmp_path / "g", WIDTH) for _ in range(2))
    for first in range(0, 40, 10):
        writer.add(entries(first, 10))
        assert len(reader.records()) == first + 10
    writer.optimize()
    assert len(reader.records()) == len(reader.snapshot().embeddings) == 40


def test_a_commit_that_adds_replaces_and_removes_is_one_version(tmp_path):
    store = LanceStore(tmp_path / "g", WIDTH)
    first = entries(0, 6, shares=b"packed")
    store.add(first)
    before = store.version
    moved = replace(first[2].record, path="/moved.jpg")
    done = store.commit([*entries(6, 2), first[4]], [moved], [first[0].record.id, "unknown"])
    assert (done.added, done.removed, store.version) == (2, 1, before + 1)
    assert store.records([moved.id])[0] == moved and store.shares(moved.id) == b"packed"
    np.testing.assert_array_equal(store.embeddings([moved.id])[0], first[2].embedding)
    assert {r.id for r in store.records()} == {e.record.id for e in [*first[1:], *entries(6, 2)]}
