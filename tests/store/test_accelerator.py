"""The accelerator against exact search, before and after its table changes."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pytest

from lookalike.errors import GalleryError
from lookalike.store import accelerator as accelerators
from lookalike.store import faiss_indices
from lookalike.store.accelerator import (
    accelerated_version,
    build_accelerator,
    load_accelerator,
    remove_accelerator,
)

pytest.importorskip("faiss")
D, MODEL = 16, "a model"


def units(n, seed):
    """Unit vectors around 20 centers, as embeddings lie."""
    centers = np.random.default_rng(0).standard_normal((20, D))
    rng = np.random.default_rng(seed)
    vectors = centers[rng.integers(20, size=n)] + 0.5 * rng.standard_normal((n, D))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


@dataclass
class Table:
    """What a store knows: vectors by id, and a version."""

    rows: dict[str, np.ndarray] = field(default_factory=dict)
    version: int = 1
    made: int = 0

    def add(self, vectors):
        self.rows |= {f"{self.made + i:032x}": vector for i, vector in enumerate(vectors)}
        self.made += len(vectors)
        self.version += 1

    def remove(self, ids):
        for id in ids:
            del self.rows[id]
        self.version += 1

    def ids(self):
        return pa.array(list(self.rows), pa.string())

    def embeddings(self, ids):
        return np.array([self.rows[id] for id in ids], np.float32).reshape(-1, D)

    def batches(self):
        ids = list(self.rows)
        for start in range(0, len(ids), 150):
            yield ids[start : start + 150], self.embeddings(ids[start : start + 150])

    def best(self, query, n):
        """The true answer."""
        ids = list(self.rows)
        return [ids[row] for row in np.argsort(-(self.embeddings(ids) @ query))[:n]]


@pytest.fixture(params=["graph", "lists"])
def kind(request, monkeypatch):
    """Both kinds of index, in spite of few vectors."""
    if request.param == "lists":
        monkeypatch.setattr(faiss_indices, "MOST_IN_GRAPH", 0)
        monkeypatch.setattr(faiss_indices, "_LISTS", 0.7)  # so that k-means has enough vectors for each
    return request.param


@pytest.fixture
def table():
    made = Table()
    made.add(units(1_000, 1))
    return made


def build(folder, table):
    return build_accelerator(folder, table.version, MODEL, table.batches(), D)


def recall(index, table, n=20):
    """Share of the true neighbors found, mean over queries; every found id must exist."""
    shares = []
    for query in units(25, 2):
        found = index.nearest_ids(query, 2 * n)
        assert set(found) <= set(table.rows) and len(set(found)) == len(found) == 2 * n
        shares.append(len(set(found[:n]) & set(table.best(query, n))) / n)
    return np.mean(shares)


def test_most_of_the_true_neighbors_are_found(kind, table, tmp_path):
    assert build(tmp_path, table) == 1_000
    index = load_accelerator(tmp_path, MODEL, D)
    assert recall(index, table) > 0.95 and index.holds(set(table.rows))


def test_vectors_are_exact_and_rows_are_those_of_the_table(kind, table, tmp_path):
    build(tmp_path, table)
    index = load_accelerator(tmp_path, MODEL, D)
    ids = list(table.rows)[::-1]
    positions, vectors = index.nearest(units(1, 3)[0], 10)
    rows = index.rows_in(ids)[positions]
    assert np.array_equal(vectors, table.embeddings([ids[row] for row in rows]))


@pytest.mark.parametrize("folds", [False, True])
def test_what_was_added_and_removed_is_taken_in_and_saved(kind, table, tmp_path, monkeypatch, folds):
    if folds:
        monkeypatch.setattr(accelerators, "_most_in_file", lambda _: 10)
    build(tmp_path, table)
    index = load_accelerator(tmp_path, MODEL, D)
    query = units(1, 5)[0]
    for n_gone, seed in ((40, 6), (20, 7)):
        table.remove(table.best(query, n_gone))  # a whole neighborhood
        table.add(units(35, seed))
        assert index.bring_to(table.version, table.ids(), table.embeddings)
        index.save(tmp_path)
        again = load_accelerator(tmp_path, MODEL, D)
        for each in (index, again):
            assert each.version == table.version == accelerated_version(tmp_path)
            assert each.holds(set(table.rows)) and recall(each, table) > 0.95
            assert each.nearest_ids(query, 40)[:5] == table.best(query, 5)
    assert len(list((tmp_path / "accelerator").iterdir())) == 2  # the stamp and one folder
    assert len(list((tmp_path / "accelerator").rglob("changes-*"))) == 1


def test_what_comes_back_is_found_again(kind, table, tmp_path):
    build(tmp_path, table)
    index = load_accelerator(tmp_path, MODEL, D)
    query, before = units(1, 5)[0], dict(table.rows)
    lost = table.best(query, 3)
    table.remove(lost)
    assert index.bring_to(table.version, table.ids(), table.embeddings)
    assert not set(lost) & set(index.nearest_ids(query, 10))
    table.rows = before
    assert index.bring_to(table.version + 1, table.ids(), table.embeddings)
    assert index.nearest_ids(query, 40)[:3] == lost


def test_many_changes_are_refused_and_leave_the_index_as_it_was(kind, table, tmp_path):
    build(tmp_path, table)
    index = load_accelerator(tmp_path, MODEL, D)
    before, version = set(table.rows), table.version
    table.add(units(150, 8))
    table.remove(list(table.rows)[:51])  # together a fifth and one
    assert not index.bring_to(table.version, table.ids(), table.embeddings)
    assert index.version == version and index.holds(before)


def test_an_index_of_another_model_or_width_is_not_loaded(table, tmp_path):
    build(tmp_path, table)
    assert load_accelerator(tmp_path, "another", D) is None
    assert load_accelerator(tmp_path, MODEL, D // 2) is None
    remove_accelerator(tmp_path)
    assert load_accelerator(tmp_path, MODEL, D) is None


@pytest.mark.parametrize("fails", ["_write_index", "_write_vectors", "_put_into_effect"])
def test_a_fold_that_fails_leaves_the_former_index(table, tmp_path, monkeypatch, fails):
    monkeypatch.setattr(accelerators, "_most_in_file", lambda _: 10)
    build(tmp_path, table)
    index, before = load_accelerator(tmp_path, MODEL, D), set(table.rows)
    table.add(units(50, 9))
    assert index.bring_to(table.version, table.ids(), table.embeddings)

    def no_room(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(accelerators, fails, no_room)
        with pytest.raises(GalleryError, match="free some space"):
            index.save(tmp_path)
    assert load_accelerator(tmp_path, MODEL, D).holds(before)
    assert index.holds(set(table.rows))
    index.save(tmp_path)
    assert load_accelerator(tmp_path, MODEL, D).holds(set(table.rows))
    assert len(list((tmp_path / "accelerator").iterdir())) == 2


def test_the_lists_searched_are_as_many_as_the_recall_needs(kind, table, tmp_path):
    if kind == "graph":
        pytest.skip("a graph has none")
    index = faiss_indices.built_index(table.embeddings(list(table.rows)))
    assert index.nlist == 22 and 4 <= index.nprobe < 22


def test_threads_search_while_changes_are_taken_in(tmp_path):
    table = Table()
    table.add(units(400, 1))
    build_accelerator(tmp_path, table.version, MODEL, table.batches(), D)
    index = load_accelerator(tmp_path, MODEL, D)
    first, wrong, is_over = dict(table.rows), [], threading.Event()

    def search():
        while not is_over.is_set():
            for id, vector in first.items():
                if index.nearest_ids(vector, 3)[0] != id:
                    wrong.append(id)

    with ThreadPoolExecutor(3) as pool:
        searches = [pool.submit(search) for _ in range(3)]
        for seed in range(2, 12):
            table.add(units(6, seed))
            assert index.bring_to(table.version, table.ids(), table.embeddings)
        is_over.set()
        for each in searches:
            each.result()
    assert wrong == []
