"""Merges of rankings: blocks, ties and shortlists give what one sort of everything gives."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from lookalike.gallery.nearest import Searcher
from lookalike.ops.neighbors import largest_k, nearest
from lookalike.rerankers.base import first_then_rest, reordered
from lookalike.store import Entry, MemoryStore, Record
from lookalike.types import Ranking
from made_examples import few

few_values = st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0])  # so that ties are many


tables = st.integers(1, 4).flatmap(
    lambda n: st.lists(st.lists(few_values, min_size=n, max_size=n), min_size=1, max_size=3)
)
directions = [(1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (3.0, 4.0, 0.0)]
vectors = st.lists(st.sampled_from(directions), min_size=1, max_size=9)
angle_lists = st.lists(st.integers(0, 999), min_size=1, max_size=12, unique=True)


@given(tables, st.integers(1, 6))
@few(80)
def test_the_largest_are_those_of_a_stable_sort(rows, k):
    values = torch.tensor(rows)
    scores, columns = largest_k(values, k)
    order = values.argsort(dim=1, descending=True, stable=True)[:, :k]
    assert torch.equal(columns, order) and torch.equal(scores, values.gather(1, order))


@given(vectors, vectors, st.integers(1, 10), st.integers(1, 4), st.integers(1, 4))
@few(80)
def test_neighbors_do_not_depend_on_the_blocks(query, gallery, k, query_block, gallery_block):
    a, b = torch.tensor(query), torch.tensor(gallery)
    scores, rows = nearest(a, b, k, query_block=query_block, gallery_block=gallery_block)
    whole, order = nearest(a, b, k)
    assert torch.equal(rows, order) and torch.equal(scores, whole)
    for i in range(len(a)):
        cosines = torch.cosine_similarity(a[i : i + 1], b).round(decimals=5).tolist()
        by_hand = sorted(range(len(b)), key=lambda j: (-cosines[j], j))
        assert rows[i].tolist() == by_hand[:k]


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=9), st.data())
@few(80)
def test_the_rest_follows_in_its_order_and_never_before_the_first(before, data):
    before = torch.tensor(sorted(before, reverse=True))
    n = data.draw(st.integers(1, len(before)))
    first = torch.tensor(data.draw(st.lists(st.floats(-1, 1, width=32), min_size=n, max_size=n)))
    merged = first_then_rest(before, first)
    assert torch.equal(merged[:n], first)
    rest = merged[n:]
    assert bool((rest <= first.min()).all()) and bool((rest.diff() <= 0).all())
    ranking = Ranking(torch.eye(3)[:1], torch.eye(len(before)), torch.arange(len(before))[None], before[None])
    after = reordered(ranking, merged[None], ranking.queries, ranking.gallery)
    assert sorted(after.indices[0].tolist()) == list(range(len(before)))
    assert set(after.indices[0, :n].tolist()) == set(range(n))  # stable: ties keep the first before the rest


class InBatches:
    """A store that gives its rows in small batches."""

    def __init__(self, store, size):
        self._store, self._size = store, size

    def __getattr__(self, name):
        return getattr(self._store, name)

    def batches(self):
        for ids, rows in self._store.batches():
            for start in range(0, len(ids), self._size):
                yield ids[start : start + self._size], rows[start : start + self._size]


@given(angle_lists, st.integers(1, 14), st.integers(1, 5), st.integers(1, 3))
@few(60)
def test_a_scan_in_batches_finds_what_a_search_in_memory_finds(angles, n, size, every):
    store = MemoryStore(2)
    for angle in angles:
        unit = np.array([np.cos(angle / 400), np.sin(angle / 400)], dtype=np.float32)
        record = Record(f"{angle:020d}", f"/{angle}.png", "0" * 64, 1, 1, {"part": angle % every})
        store.add([Entry(record, unit)])
    query = torch.tensor([1.0, 0.0])
    exact = Searcher(store, None, 2**20, "").shortlist(query, n, where={"part": 0}, without=None)
    scanned = Searcher(InBatches(store, size), None, 0, "")
    found = scanned._scan(query, n, lambda id: int(id) % every == 0)
    expected = [exact.records[row].id for row in exact.ranking.indices[0].tolist()]
    assert found == expected == [f"{a:020d}" for a in sorted(angles) if a % every == 0][:n]
