"""Galleries whose embeddings don't fit into the memory budget, on random vectors: no model runs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lookalike.errors import GalleryError
from lookalike.gallery import Gallery
from lookalike.gallery.maintenance import index_if_large
from lookalike.gallery.nearest import Searcher
from lookalike.gallery.opening import manifest_of
from lookalike.rerankers import ContextualReranking, first_stage
from lookalike.store import Entry, LanceStore, Record, record_id

N, D = 6_000, 40
SMALL = 10_000  # bytes: 62 vectors


def units(n, seed):
    """Unit vectors around 50 centers, as embeddings lie."""
    centers = np.random.default_rng(0).standard_normal((50, D))
    rng = np.random.default_rng(seed)
    vectors = centers[rng.integers(50, size=n)] + 0.8 * rng.standard_normal((n, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


VECTORS, QUERIES = units(N, 1), units(20, 2)


def entry(number, vector):
    digest = f"{number:064x}"[::-1]
    metadata = {"color": "red" if number % 3 == 0 else "blue", "rare": number % 2_000}
    return Entry(Record(record_id(digest), f"/p/{number}.jpg", digest, number, 1, metadata), vector)


ENTRIES = [entry(number, vector) for number, vector in enumerate(VECTORS)]
IDS = [entry.record.id for entry in ENTRIES]


def gallery_on(store, mini, uri=None):
    manifest = replace(manifest_of(mini, mini, keep_shares=False), width=D)
    return Gallery(store, mini, manifest, uri=uri, memory_budget=SMALL)


@pytest.fixture(scope="module")
def without_index(mini, tmp_path_factory):
    """A large gallery that nobody indexed; read-only."""
    store = LanceStore(tmp_path_factory.mktemp("plain"), D)
    store.add(ENTRIES)
    return gallery_on(store, mini)


@pytest.fixture(scope="module")
def with_index(mini, tmp_path_factory):
    """A large gallery with the store's own index; read-only."""
    store = LanceStore(tmp_path_factory.mktemp("indexed"), D)
    store.add(ENTRIES)
    gallery = gallery_on(store, mini)
    assert gallery.optimize() == N
    return gallery


@pytest.fixture(scope="module")
def with_accelerator(mini, tmp_path_factory):
    """A large gallery in a folder, with the index beside its table; read-only."""
    pytest.importorskip("faiss", reason="the extra scale is not installed")
    folder = tmp_path_factory.mktemp("accelerated")
    store = LanceStore(folder, D)
    store.add(ENTRIES)
    gallery = gallery_on(store, mini, uri=str(folder))
    assert gallery.optimize() == N and gallery._searcher.accelerator() is not None
    return gallery


@pytest.fixture(params=["without_index", "with_index", "with_accelerator"])
def large(request, monkeypatch):
    monkeypatch.setattr(Searcher, "snapshot", lambda *_: pytest.fail("took everything into memory"))
    return request.getfixturevalue(request.param)


def best(query, k, allowed=lambda number: True):
    """The true answer: ids and cosines."""
    cosines = VECTORS.astype(np.float64) @ query
    order = [number for number in np.argsort(-cosines) if allowed(number)][:k]
    return [IDS[number] for number in order], cosines[order]


@pytest.mark.parametrize("k", [1, 10, 100])
def test_vectors_find_their_neighbors_with_exact_cosines(large, k):
    recalls = []
    for query in QUERIES:
        ids, _ = best(query, k)
        hits = large.search(query, k=k)
        assert len(hits) == k
        recalls.append(len({hit.id for hit in hits} & set(ids)) / k)
        by_id = dict(zip(IDS, VECTORS.astype(np.float64) @ query, strict=True))
        assert [hit.similarity for hit in hits] == pytest.approx([by_id[hit.id] for hit in hits], abs=1e-6)
        assert [hit.similarity for hit in hits] == sorted((hit.similarity for hit in hits), reverse=True)
    assert np.mean(recalls) >= 0.95


@pytest.mark.parametrize("k", [10, 300])
def test_a_filter_that_many_pass(large, k):
    ids, _ = best(QUERIES[0], k, lambda number: number % 3 == 0)
    hits = large.search(QUERIES[0], k=k, where="color == 'red'")
    assert len({hit.id for hit in hits} & set(ids)) >= 0.95 * k
    assert all(hit.metadata["color"] == "red" for hit in hits) and len(hits) == k


def test_a_filter_that_few_or_none_pass_is_exact(large):
    ids, cosines = best(QUERIES[1], 10, lambda number: number % 2_000 == 5)
    hits = large.search(QUERIES[1], k=10, where="rare == 5")
    assert [hit.id for hit in hits] == ids and len(ids) == 3
    assert [hit.similarity for hit in hits] == pytest.approx(list(cosines), abs=1e-6)
    assert large.search(QUERIES[1], where="color == 'green'") == []


def test_a_short_list_is_re_ranked_in_the_context_of_what_follows_it(without_index):
    """The contextual re-ranker looks at 96 results, also where five are re-ranked."""
    vectors = torch.from_numpy(VECTORS)
    for query in QUERIES[:4]:
        hits = without_index.search(query, k=5, shortlist=5, rerank="csa")
        expected = ContextualReranking()(first_stage(torch.from_numpy(query)[None], vectors, k=5))
        assert [hit.id for hit in hits] == [IDS[row] for row in expected.indices[0].tolist()]
        found = without_index._searcher.shortlist(
            torch.from_numpy(query), 5, n_context=500, where=None, without=None
        )
        assert len(found.ranking.gallery) >= 500 and found.ranking.indices.shape == (1, 5)


def test_more_hits_than_there_are_candidates_means_all(large):
    hits = large.search(QUERIES[2], k=2 * N)
    assert len(hits) == N and [hit.id for hit in hits[:50]] == best(QUERIES[2], 50)[0]


def test_what_is_added_after_the_index_was_built_is_found(mini, tmp_path):
    store = LanceStore(tmp_path, D)
    store.add(ENTRIES[:2_000])
    gallery = gallery_on(store, mini)
    gallery.optimize()
    store.add([entry(N + 1, QUERIES[3])])
    assert gallery.search(QUERIES[3], k=1)[0].similarity == pytest.approx(1, abs=1e-6)
    store.remove([entry(N + 1, QUERIES[3]).record.id])
    assert gallery.search(QUERIES[3], k=1)[0].similarity < 0.99


def test_the_index_beside_the_table_reads_the_records_of_hits_and_no_vectors(with_accelerator, monkeypatch):
    store = with_accelerator._store
    asked = []
    records = LanceStore.records
    monkeypatch.setattr(LanceStore, "records", lambda self, ids=None: asked.append(ids) or records(self, ids))
    monkeypatch.setattr(LanceStore, "embeddings", lambda *_: pytest.fail("vectors lie beside the index"))
    hits = with_accelerator.search(QUERIES[0], k=3)
    assert [hit.id for hit in hits] == best(QUERIES[0], 3)[0] and asked == [[hit.id for hit in hits]]
    assert store._table.index_stats("id_idx").num_unindexed_rows == 0
    found = with_accelerator._searcher.shortlist(
        torch.from_numpy(QUERIES[0]), 3, n_context=70, where=None, without=None
    )
    gallery, rows = found.ranking.gallery.numpy(), range(69, -1, -3)
    others = found.shown(rows)
    np.testing.assert_array_equal(gallery[list(rows)], [VECTORS[IDS.index(each.id)] for each in others])


def test_a_record_that_is_removed_during_a_search_is_no_result(with_accelerator, monkeypatch):
    ids, _ = best(QUERIES[4], 4)
    records = LanceStore.records

    def all_but_the_second(self, wanted=None):
        return [each for each in records(self, wanted) if each.id != ids[1]]

    monkeypatch.setattr(LanceStore, "records", all_but_the_second)
    assert [hit.id for hit in with_accelerator.search(QUERIES[4], k=4)] == [ids[0], *ids[2:]]
    found = with_accelerator._searcher.shortlist(
        torch.from_numpy(QUERIES[4]), 1, n_context=0, where=None, without=None
    )
    row = next(
        row
        for row, each in enumerate(found.ranking.gallery.numpy())
        if (each == VECTORS[IDS.index(ids[1])]).all()
    )
    with pytest.raises(GalleryError, match="removed during the search"):
        found.shown([row])


def test_changes_are_followed_beyond_the_budget_and_adding_leaves_the_index_in_use(
    mini, tmp_path, monkeypatch
):
    pytest.importorskip("faiss", reason="the extra scale is not installed")
    store = LanceStore(tmp_path, D)
    store.add(ENTRIES[:2_000])
    gallery = gallery_on(store, mini, uri=str(tmp_path))
    gallery.optimize()
    store.add([entry(N + 1, QUERIES[3])])
    monkeypatch.setattr(LanceStore, "build_index", lambda _: pytest.fail("the accelerator follows"))
    index_if_large(store, gallery._searcher)
    assert gallery.search(QUERIES[3], k=1)[0].similarity == pytest.approx(1, abs=1e-6)
    renamed = replace(entry(N + 1, QUERIES[3]).record, path="/p/renamed.jpg")
    store.update([renamed])
    assert gallery.search(QUERIES[3], k=1)[0].record.path == "/p/renamed.jpg"
    store.remove([renamed.id])
    assert gallery.search(QUERIES[3], k=1)[0].similarity < 0.99


def test_images_and_parts_of_them_are_asked_and_explained(indexed, room_files, mini):
    """Real pictures: adding to a gallery beyond its budget builds the index by itself."""
    small = Gallery.open(indexed.uri, mini, memory_budget=100)
    small.add(room_files[0])
    for options in ({}, {"box": (20, 20, 90, 110)}, {"rerank": "aqe"}):
        expected = indexed.search(room_files[1][3], k=5, explain=True, **options)
        found = small.search(room_files[1][3], k=5, explain=True, **options)
        assert [hit.id for hit in found] == [hit.id for hit in expected]
        for hit, same in zip(found, expected, strict=True):
            np.testing.assert_allclose(hit.query_map, same.query_map, atol=1e-5)


def test_the_mean_of_a_gallery_beyond_memory_is_that_of_all_vectors(without_index, mini):
    expected = VECTORS.mean(0, dtype=np.float64)
    np.testing.assert_allclose(without_index.mean_unit(), expected, atol=1e-6)
    assert without_index.mean_unit().dtype == np.float32 and 0 < np.linalg.norm(expected) < 1
