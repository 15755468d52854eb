"""The table on disk stays near the size of its live rows, and what was forgotten can be read for a week."""

import os
from dataclasses import replace

import numpy as np
import pytest

from lookalike.store import Entry, LanceStore, Record, record_id

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


def test_versions_before_a_forgetting_are_kept_for_a_week_and_not_longer(tmp_path):
    store = LanceStore(tmp_path / "g", WIDTH)
    store.add(entries(0, 50))
    before = store.version
    store.remove([entry.record.id for entry in entries(0, 50)[:20]])
    for first in range(50, 80):
        store.add(entries(first, 1))
    store.optimize()
    table = store._table
    assert before in {version["version"] for version in table.list_versions()}
    week_ago = (tmp_path / "g" / ".forgotten").stat().st_mtime - 8 * 86400
    os.utime(tmp_path / "g" / ".forgotten", (week_ago, week_ago))
    store.optimize()
    assert len(table.list_versions()) == 1 and len(store) == 60


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
