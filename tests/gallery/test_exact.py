"""The best rows are those of exact arithmetic, also among ties and near ties, for one query as for many."""

import numpy as np
import pytest
import torch

from lookalike import Embedder, Gallery
from lookalike.gallery.exact import Batch, best_of, exact_best, nearest_candidates, products
from lookalike.store import Entry, Record, record_id

G, D = 3000, 24


def units(n, seed):
    rows = torch.randn(n, D, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(rows)


def true_order(gallery, unit, allowed=None):
    cosines = (gallery.double() @ unit.double()).float().numpy()
    rows = np.arange(len(gallery)) if allowed is None else np.flatnonzero(allowed)
    return rows[np.argsort(-cosines[rows], kind="stable")], cosines


@pytest.fixture
def tied():
    """Many rows that are equal or differ in their last digits, near the query."""
    gallery, unit = units(G, 0), units(1, 1)[0]
    gallery[::7] = gallery[5]
    near = torch.nn.functional.normalize(unit + 1e-4 * units(400, 2))
    gallery[100:500] = near
    gallery[600:1000] = near[0] + 6e-8 * torch.randint(
        -1, 2, (400, D), generator=torch.Generator().manual_seed(3)
    )
    return gallery, unit


@pytest.mark.parametrize("n", [1, 10, 100, 450, 2999, G, 2 * G])
def test_ties_and_near_ties_are_in_exact_order_whatever_rounding_the_products_have(tied, n):
    gallery, unit = tied
    expected, cosines = true_order(gallery, unit)
    noise = (torch.rand(G, generator=torch.Generator().manual_seed(4)) * 2 - 1) * D * 2.0**-24
    for scores in (gallery @ unit, (gallery @ unit.double().float()) + 0.9 * noise):
        rows, found = exact_best(scores, gallery, unit, n)
        np.testing.assert_array_equal(rows, expected[:n])
        np.testing.assert_array_equal(found, cosines[expected[:n]])


def test_rows_that_are_left_out_do_not_come_back(tied):
    gallery, unit = tied
    allowed = torch.rand(G, generator=torch.Generator().manual_seed(5)) < 0.01
    scores = (gallery @ unit).masked_fill(~allowed, -torch.inf)
    rows, _ = exact_best(scores, gallery, unit, int(allowed.sum()))
    np.testing.assert_array_equal(rows, true_order(gallery, unit, allowed.numpy())[0])
    assert exact_best(scores, gallery, unit, 0)[0].shape == (0,)


@pytest.fixture
def slices(monkeypatch):
    monkeypatch.setattr("lookalike.gallery.exact._SLICE", 256)  # so that G is no multiple of it


@pytest.mark.parametrize("n", [1, 10, 450, 2990, G, 2 * G])
@pytest.mark.parametrize("part", [1.0, 0.3, 0.002, 0.0])
def test_candidates_of_many_hold_the_best_of_each_among_those_allowed(tied, slices, n, part):
    gallery, unit = tied
    queries = torch.stack([*units(8, 6), unit, gallery[5]])
    allowed = torch.rand(G, generator=torch.Generator().manual_seed(7)) < part
    found = nearest_candidates(gallery, queries, n, None if part == 1 else allowed)
    n = min(n, int(allowed.sum()))
    assert any(rows is not None for rows in found)
    for query, rows in zip(queries, found, strict=True):
        if rows is not None:
            expected, cosines = true_order(gallery, query, allowed.numpy())
            best, values = best_of(rows, gallery, query, n)
            np.testing.assert_array_equal(best, expected[:n])
            np.testing.assert_array_equal(values, cosines[expected[:n]])


def test_a_query_with_more_near_ties_than_are_kept_is_left_to_a_search_of_its_own(tied, slices):
    gallery, _ = tied
    found = nearest_candidates(gallery, torch.stack([*units(8, 6), gallery[5]]), 10)
    assert found[8] is None and len(found[0]) < 30


@pytest.mark.parametrize("order", ["ascending", "descending"])
@pytest.mark.parametrize("dense", [0, 1 / 8, 1])
def test_candidates_do_not_depend_on_where_the_best_rows_lie(slices, order, dense, monkeypatch):
    monkeypatch.setattr("lookalike.gallery.exact._DENSE", dense)
    unit = units(1, 1)
    gallery = units(G, 0)
    gallery = gallery[(gallery @ unit[0]).argsort(descending=order == "descending")]
    rows = nearest_candidates(gallery, unit, 20)[0]
    np.testing.assert_array_equal(
        best_of(rows, gallery, unit[0], 20)[0], true_order(gallery, unit[0])[0][:20]
    )


def test_a_batch_is_of_the_gallery_the_number_and_the_filter_of_now():
    """A row was exchanged between two queries: the gallery is as large as before."""
    gallery = units(60, 0)
    queries = list(gallery[:9])
    batch = Batch(queries)
    assert 0 in batch.candidates(queries[0], gallery, 1, None)
    assert 1 in batch.candidates(queries[1], gallery, 1, None)
    now = torch.flip(gallery, (0,))
    assert 58 in batch.candidates(queries[1], now, 1, None)
    assert len(batch.candidates(queries[1], now, 59, None)) == 60
    allowed = torch.arange(60) != 58
    assert 58 not in batch.candidates(queries[1], now, 1, allowed)
    assert 57 in batch.candidates(queries[2], now, 1, allowed)
    assert batch.candidates(queries[0].clone(), now, 1, allowed) is None
    assert batch.candidates(queries[0], now, 5000, None) is None
    assert Batch(queries[:7]).candidates(queries[0], gallery, 1, None) is None


@pytest.mark.parametrize("threads", [1, 3])
def test_products_are_within_the_rounding_that_the_best_rows_allow_for(threads):
    gallery, unit = units(500, 0), units(1, 1)[0]
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    found = products(gallery.numpy(), unit)
    torch.set_num_threads(before)
    assert found.dtype == torch.float32
    assert (found - gallery.double() @ unit.double()).abs().max() < D * 2.0**-24


def test_many_vectors_find_what_each_finds_alone_among_ties(tied):
    rows, _ = tied
    embedder = Embedder.load("mini")
    width = embedder.width
    gallery = Gallery.in_memory(embedder)
    wide = torch.zeros(len(rows), width)
    wide[:, :D] = rows
    made = [
        Entry(Record(record_id(f"{n:020x}" + 44 * "0"), f"/{n}.jpg", "", n, n), row)
        for n, row in enumerate(torch.nn.functional.normalize(wide).numpy())
    ]
    gallery._store.add(made)
    queries = [made[n].embedding for n in (150, 620, 7, 14, 2000, 0, 21, 800, 2999)]
    alone = [[(hit.id, hit.similarity) for hit in gallery.search(query, k=30)] for query in queries]
    together = [[(hit.id, hit.similarity) for hit in found] for found in gallery.search_many(queries, k=30)]
    assert together == alone and alone[2] == alone[3]


def test_many_pictures_of_a_gallery_leave_themselves_out_and_those_the_filter_does():
    embedder = Embedder.load("mini")
    gallery = Gallery.in_memory(embedder)
    rows = torch.nn.functional.normalize(
        torch.randn(60, embedder.width, generator=torch.Generator().manual_seed(8))
    )
    made = [
        Entry(Record(record_id(f"{n:020x}" + 44 * "0"), f"/{n}.jpg", "", n, n, {"part": str(n % 3)}), row)
        for n, row in enumerate(rows.numpy())
    ]
    gallery._store.add(made)
    ids = [each.record.id for each in made]
    for options in ({"k": 5}, {"k": 60}, {"k": 5, "where": {"part": "1"}}, {"k": 60, "where": {"part": "1"}}):
        options["leave_self_out"] = True
        queries = [*ids[:12], ids[30]]
        alone = [[(hit.id, hit.similarity) for hit in gallery.search(query, **options)] for query in queries]
        found = gallery.search_many(queries, **options)
        assert [[(hit.id, hit.similarity) for hit in hits] for hits in found] == alone
        assert all(ids[n] not in {hit.id for hit in hits} for n, hits in enumerate(found[:12]))
