"""Many queries at once: as one by one, in few forward passes, and one bad query stops no other."""

import numpy as np
import pytest
import torch

from lookalike.errors import UnreadableImageError
from lookalike.gallery.many import batched_queries
from lookalike.gallery.query import image_query
from lookalike.gallery.regions import Region


def seen(result):
    return [(hit.id, pytest.approx(hit.similarity, abs=1e-5), hit.rank_before) for hit in result]


def test_many_queries_find_what_each_finds_alone(indexed, room_files):
    files = room_files[1][:5]
    region = image_query(files[3], indexed.embedder, Region.of((10, 5, 120, 90), None))
    record = indexed.records()[2].id
    vector = np.arange(indexed.embedder.width, dtype=np.float32)
    sources = [files[0], files[1].read_bytes(), record, vector, [files[2], files[3]], region]
    options = {"k": 4, "rerank": "k-reciprocal", "shortlist": 6}
    together = indexed.search_many(sources, batch_size=2, **options)
    alone = [indexed.search(source, **options) for source in sources]
    assert [seen(result) for result in together] == [seen(result) for result in alone]


def test_filters_and_the_query_itself_are_left_out_of_each(indexed, room_files):
    files = room_files[1][:4]
    where = f"label == '{files[0].parent.name}'"
    for file, result in zip(files, indexed.search_many(files, where=where, leave_self_out=True), strict=True):
        assert result and {hit.metadata["label"] for hit in result} == {files[0].parent.name}
        assert str(file) not in {str(hit.path) for hit in result}


def test_images_are_embedded_batch_by_batch(indexed, room_files, counts):
    files = room_files[1][:7]
    indexed.search_many(files, batch_size=4)
    assert counts.take() == (7, 2)


def test_vectors_are_taken_together_and_images_by_the_batch(indexed, room_files):
    taken = []
    sources = [*np.eye(indexed.embedder.width, dtype=np.float32)[:40], *room_files[1][:7]]
    list(
        batched_queries(sources, indexed._store, indexed.embedder, 4, lambda units: taken.append(len(units)))
    )
    assert taken == [44, 3, 0]


def test_a_bad_query_is_named_and_the_others_are_searched(indexed, room_files, tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no picture")
    files = [room_files[1][0], bad, room_files[1][1]]
    first, error, last = indexed.search_each(files, k=1)
    assert (first[0].path, last[0].path) == (files[0], files[2])
    assert isinstance(error, UnreadableImageError) and "bad.jpg" in str(error)
    with pytest.raises(UnreadableImageError, match=r"bad\.jpg"):
        indexed.search_many(files)


def test_hits_of_many_queries_explain_themselves(indexed, room_files):
    (hits,) = indexed.search_many(room_files[1][:1], k=3)
    why = hits[1].why(layer="last")
    assert why.query.name == room_files[1][0].name
    assert why.query_map.sum() + why.residual == pytest.approx(hits[1].similarity, abs=1e-5)


def test_a_query_that_changed_after_its_search_is_not_explained(indexed, room_files, tmp_path):
    copy = tmp_path / "query.png"
    copy.write_bytes(room_files[1][0].read_bytes())
    (hits,) = indexed.search_many([copy], k=1)
    copy.write_bytes(room_files[1][5].read_bytes())
    with pytest.raises(UnreadableImageError, match="changed since the search"):
        hits[0].why()


def test_regions_and_empty_batches_are_refused(indexed, room_files):
    with pytest.raises(ValueError, match="one query"):
        indexed.search_many(room_files[1][:1], box=(0, 0, 9, 9))
    with pytest.raises(ValueError, match="batch_size is 1 or more"):
        indexed.search_many(room_files[1][:1], batch_size=0)
    assert indexed.search_many([]) == []


def test_progress_counts_the_queries(indexed, room_files):
    told = []
    indexed.search_many(room_files[1][:3], progress=told.append, k=1)
    assert [(each.done, each.total) for each in told] == [(0, 3), (1, 3), (2, 3), (3, 3)]


def test_an_image_in_memory_needs_no_id(indexed, pictures):
    (hits,) = indexed.search_many([pictures[1]], k=2)
    alone = indexed.search(pictures[1], k=2)
    torch.testing.assert_close(hits.query.unit, alone.query.unit)
