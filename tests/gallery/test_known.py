"""What a gallery holds, in sorted arrays: the same answers as sets and dictionaries."""

import random

import numpy as np

from lookalike.gallery.known import KnownContent
from lookalike.store import Copy, Entry, MemoryStore, Record, record_id
from lookalike.store.sorted_set import SortedSet


def test_a_sorted_set_of_numbers_answers_as_a_set(monkeypatch):
    monkeypatch.setattr("lookalike.store.sorted_set._LEAST_WAITING", 8)
    rng = random.Random(0)
    numbers = SortedSet(np.array([5, 2**62, 5, 7], np.int64))
    expected = {5, 2**62, 7}
    for _ in range(600):
        value = rng.randrange(200)
        if rng.random() < 0.3:
            numbers.discard(value)
            expected.discard(value)
        else:
            numbers.add(value)
            expected.add(value)
        assert len(numbers) == len(expected)
    assert all((value in numbers) == (value in expected) for value in [*range(200), 2**62, 2**62 + 1])


def test_a_sorted_set_of_ids_is_not_fooled_by_a_prefix():
    ids = SortedSet(np.array(["ab" * 10], "S20"))
    ids.add("cd" * 10)
    assert "ab" * 10 in ids and "cd" * 10 in ids
    assert "ab" * 9 not in ids and "ab" * 9 + "ac" not in ids


def test_every_file_of_every_record_is_known_with_its_size_and_time():
    store = MemoryStore(3)
    digest = "0f" * 32
    record = Record(record_id(digest), "/a/ä.jpg", digest, 11, 22, copies=(Copy("/b.jpg", 33),))
    store.add([Entry(record, np.array([1, 0, 0], np.float32))])
    known = KnownContent(store)
    assert record.id in known.ids and 11 in known.sizes and known.shared == {record.id}
    first, second = known.file("/a/ä.jpg"), known.file("/b.jpg")
    assert (first.id, first.size, first.mtime_ns) == (record.id, 11, 22)
    assert (second.id, second.size, second.mtime_ns) == (record.id, 11, 33)
    assert known.file("/a/b.jpg") is None


def test_an_empty_store_knows_nothing():
    known = KnownContent(MemoryStore(3))
    assert known.file("/a.jpg") is None and len(known.ids) == 0 and 5 not in known.sizes
