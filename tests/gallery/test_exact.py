"""The best rows are those of exact arithmetic, also among ties and near ties, for one query as for many."""

import numpy as np
import pytest
import torch

from lookalike import Embedder, Gallery
from lookalike.gallery.exact import BatchProducts, exact_best, products
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


def test_products_of_a_batch_are_computed_together_in_bounded_parts(monkeypatch):
    gallery, queries = units(50, 0), list(units(8, 1))
    monkeypatch.setattr("lookalike.gallery.exact._MOST_PRODUCTS", 3 * 50)
    batch = BatchProducts(queries)
    for place in (0, 1, 4, 6, 5):
        torch.testing.assert_close(batch.of(queries[place], gallery), gallery @ queries[place])
        assert len(batch._computed) <= 2
    assert batch.of(queries[0].clone(), gallery) is None
    assert BatchProducts(queries[:7]).of(queries[0], gallery) is None


def test_products_of_a_batch_are_those_with_the_gallery_of_now():
    """A row was exchanged between two queries: the gallery is as large as before."""
    queries, gallery = list(torch.eye(8)), torch.eye(8)[:5]
    batch = BatchProducts(queries)
    batch.of(queries[0], gallery)
    now = torch.flip(gallery, (0,))
    assert torch.equal(batch.of(queries[1], now), now @ queries[1])
    assert not torch.equal(gallery @ queries[1], now @ queries[1])


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
