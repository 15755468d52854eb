"""Nearest-neighbor search: exact while the embeddings fit into memory, else approximate and re-scored.

Approximate candidates come from the accelerator if it is up to date, else from the store, which may
have an index of its own. If a filter leaves too few of them, the whole table is scanned in batches.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final, get_args

import numpy as np
import torch
from torch import Tensor

from lookalike.errors import GalleryError, check_name
from lookalike.gallery.accelerated import Accelerated, ranked_by_id
from lookalike.gallery.exact import Batch, best_of, exact_best, products
from lookalike.gallery.filters import Predicate, Where, parse_filter, which_pass
from lookalike.gallery.hubs import Corrected, Correction, Hubness, find_hubs
from lookalike.store import Record, Snapshot, VectorStore
from lookalike.store.accelerator import Accelerator
from lookalike.store.lance_rows import taken_records
from lookalike.types import FloatArray, Ranking

_MIN_CANDIDATES = 64  # of an approximate search
_WIDENING = 4  # factor on the candidates when a filter left too few
_MOST_BY_ID = 100_000  # records that are looked up in memory by id
_MAX_CANDIDATES = 4096  # beyond this, scanning the table is no slower, and it is exact


@dataclass(frozen=True)
class Shortlist:
    """The first-stage ranking of one query; row i of its gallery is records[i]."""

    ranking: Ranking
    records: Sequence[Record]
    passes: Predicate | None = None  # the filter; None: all pass

    def shown(self, rows: Sequence[int]) -> list[Record]:
        """The records of some rows, with only their files that pass the filter."""
        records = taken_records(self.records, rows)
        return records if self.passes is None else [each.with_passing_files(self.passes) for each in records]


@final
class Searcher:
    """Nearest-neighbor search in a store; caches the latest version in memory if it fits."""

    def __init__(self, store: VectorStore, folder: Path | None, memory_budget: int, fingerprint: str) -> None:
        self._store, self._budget = store, memory_budget
        self._accelerated = None if folder is None else Accelerated(store, folder, fingerprint)
        self._count: tuple[int, int] | None = None  # version, records
        self._loading = threading.Lock()  # of the snapshot, so that threads don't load it twice
        self._snapshot: Snapshot | None = None
        self._rows: tuple[int, dict[str, int]] | None = None  # version, row of each id
        self._mask: tuple[int, str, Tensor] | None = None  # version, filter, rows that pass
        self._ids: tuple[int, str, frozenset[str]] | None = None  # version, filter, records that pass
        self._corrected: tuple[int, str, Corrected] | None = None  # version, correction
        self._mean: tuple[int, FloatArray] | None = None  # version, mean of its unit embeddings
        self._batch: Batch | None = None

    def shortlist(
        self, unit: Tensor, n: int, *, n_context: int = 0, where: Where | None, without: str | None
    ) -> Shortlist:
        """Return the n records nearest to a unit vector (D,) float32 that pass the filter.

        The ranking's gallery holds ``n_context`` of the nearest at least, if there are so many. ``without``
        is an id to leave out. Raises FilterError.
        """
        version = self._store.version
        if self._fits(version):
            if where is None and self._accelerated is not None:
                found = self._accelerated.ranking(version, unit, n, n_context, without)
                if found is not None:
                    return Shortlist(*found)
            return self._exact(self.snapshot(version), unit, n, where, without)
        accelerator = self._index(version)
        passing = None if where is None else self._passing_ids(version, where)

        def keep(id: str) -> bool:
            return id != without and (passing is None or id in passing)

        if passing is not None and len(passing) <= _MAX_CANDIDATES:
            ids, vectors = [id for id in passing if keep(id)], None
        else:
            n_candidates = min(max(n, n_context), self._total(version))
            ids, vectors = self._approximate(accelerator, unit, n_candidates, keep)
        passes = None if where is None else parse_filter(where)
        if vectors is None:
            return self._scored(ids, unit, n, passes)
        return Shortlist(*ranked_by_id(self._store, ids, vectors, unit, n), passes)

    def expect(self, units: Sequence[Tensor]) -> None:
        """Say which unit vectors (D,) are searched for next: an exact search finds them in one go."""
        self._batch = Batch(units)

    def widened(
        self, found: Shortlist, units: Tensor, n: int, *, where: Where | None, without: str | None
    ) -> Shortlist:
        """Return a shortlist with the n nearest of each of V further unit vectors (V, D) added.

        Scores are the cosines with the shortlist's own query, as before.
        """
        query = found.ranking.queries[0]
        lists = [found, *(self.shortlist(unit, n, where=where, without=without) for unit in units)]
        rows = [row for each in lists for row in each.ranking.indices[0].tolist()]
        if any(each.records is not found.records for each in lists):  # rows of different tables: by id
            ids = [each.records[row].id for each in lists for row in each.ranking.indices[0].tolist()]
            unique = list(dict.fromkeys(ids))
            return self._scored(unique, query, len(unique), None if where is None else parse_filter(where))
        added = torch.tensor(list(dict.fromkeys(rows)))
        scores, order = (found.ranking.gallery[added] @ query).sort(descending=True, stable=True)
        ranking = replace(found.ranking, indices=added[order][None], scores=scores[None])
        return replace(found, ranking=ranking)

    def corrected(
        self, correction: str, unit: Tensor, n: int, *, where: Where | None, without: str | None
    ) -> Shortlist:
        """Return the n best by scores that are corrected for hubs: see ``hubs.Corrected``.

        Raises GalleryError for a gallery beyond the memory budget, UnknownNameError for another name.
        """
        check_name("correction", correction, get_args(Correction))
        version = self._store.version
        if not self._fits(version):
            raise GalleryError(
                "correction for hubs needs all embeddings in memory, and they are beyond its budget; search "
                "without it"
            )
        snapshot = self.snapshot(version)
        corrected = self._corrected
        if corrected is None or corrected[:2] != (version, correction):
            self._corrected = corrected = (
                version, correction, Corrected(correction, snapshot, self.mean()),
            )  # fmt: skip
        found = self._exact(snapshot, unit, n, where, without)
        return replace(found, ranking=corrected[2].ranking(found.ranking, n))

    def hubs(self) -> Hubness | None:
        """Return the images that are near everything; None for a gallery beyond the memory budget."""
        version = self._store.version
        return find_hubs(self.snapshot(version)) if self._fits(version) else None

    def is_too_large(self) -> bool:
        """Whether the embeddings exceed the memory budget."""
        return not self._fits(self._store.version)

    def _fits(self, version: int) -> bool:
        return self._total(version) * self._store.width * 4 <= self._budget

    def _total(self, version: int) -> int:
        """The number of records of a version, cached."""
        count = self._count  # another thread may replace what is cached
        if count is None or count[0] != version:
            self._count = count = (version, len(self._store))
        return count[1]

    def snapshot(self, version: int | None = None) -> Snapshot:
        """Return all records and embeddings of this version, or of the latest."""
        version = self._store.version if version is None else version
        with self._loading:
            if self._snapshot is None or self._snapshot.version != version:
                self._snapshot = self._store.snapshot()
            return self._snapshot

    def records(self, ids: Sequence[str]) -> Sequence[Record]:
        """Return the records with these ids, in that order; from memory if the latest version is there."""
        snapshot = self._latest()
        if snapshot is None:
            return self._store.records(ids)
        rows = self._rows_of(snapshot)
        return [snapshot.records[rows[id]] for id in ids if id in rows]

    def embedding(self, id: str) -> FloatArray | None:
        """Return the unit embedding (D,) of a record, or None; from memory as ``records``."""
        snapshot = self._latest()
        if snapshot is None:
            return self._store.embeddings([id])[0] if self._store.records([id]) else None
        row = self._rows_of(snapshot).get(id)
        return None if row is None else snapshot.embeddings[row]

    def _latest(self) -> Snapshot | None:
        """The snapshot, if it was loaded, nothing was written since, and an index of its ids is small."""
        held = self._snapshot
        if held is None or len(held.records) > _MOST_BY_ID:
            return None
        return held if held.version == self._store.version else None

    def mean(self) -> FloatArray:
        """Return the mean of all unit embeddings of the latest version, (D,) float32, cached.

        Raises GalleryError if there are none.
        """
        version = self._store.version
        mean = self._mean
        if mean is None or mean[0] != version:
            self._mean = mean = (version, self._mean_of(version))
        return mean[1]

    def _mean_of(self, version: int) -> FloatArray:
        fits = self._fits(version)
        blocks = [self.snapshot(version).embeddings] if fits else (rows for _, rows in self._store.batches())
        total, n = np.zeros(self._store.width), 0
        for rows in blocks:
            total, n = total + rows.sum(0, dtype=np.float64), n + len(rows)
        if not n:
            raise GalleryError("an empty gallery has no mean; add images first")
        return np.asarray(total / n, dtype=np.float32)

    def accelerator(self) -> Accelerator | None:
        """Return the approximate index if it is up to date; None without one."""
        return self._index(self._store.version)

    def forget_accelerator(self) -> None:
        """Drop the cached accelerator, so that a new one is loaded."""
        if self._accelerated is not None:
            self._accelerated.forget()

    # --- exact --------------------------------------------------------------------------------

    def _exact(
        self, snapshot: Snapshot, unit: Tensor, n: int, where: Where | None, without: str | None
    ) -> Shortlist:
        gallery = torch.from_numpy(snapshot.embeddings)  # (G, D)
        passing = None if where is None else self._passing(snapshot, where)
        row = None if without is None else self._rows_of(snapshot).get(without)
        allowed = passing
        if row is not None:
            allowed = torch.ones(len(gallery), dtype=torch.bool) if passing is None else passing.clone()
            allowed[row] = False
        batch = self._batch  # another thread may replace it
        found = None if batch is None else batch.candidates(unit, gallery, n, passing)
        n = min(n, len(gallery) if allowed is None else int(allowed.sum()))
        if found is None:
            scores = products(snapshot.embeddings, unit)  # (G,)
            if allowed is not None:
                scores = scores.masked_fill(~allowed, -torch.inf)
            rows, cosines = exact_best(scores, gallery, unit, n)
        else:
            rows, cosines = best_of(found if row is None else found[found != row], gallery, unit, n)
        ranking = Ranking(unit[None], gallery, rows[None], cosines[None], allowed)
        return Shortlist(ranking, snapshot.records, None if where is None else parse_filter(where))

    def _passing(self, snapshot: Snapshot, where: Where) -> Tensor:
        key = repr(where)
        held = self._mask
        if held is None or held[:2] != (snapshot.version, key):
            mask = torch.tensor(which_pass(snapshot.records, where), dtype=torch.bool)
            self._mask = held = (snapshot.version, key, mask)
        return held[2]

    def _rows_of(self, snapshot: Snapshot) -> dict[str, int]:
        held = self._rows
        if held is None or held[0] != snapshot.version:
            rows = {record.id: row for row, record in enumerate(snapshot.records)}
            self._rows = held = (snapshot.version, rows)
        return held[1]

    # --- approximate, re-scored exactly -------------------------------------------------------

    def _index(self, version: int) -> Accelerator | None:
        return None if self._accelerated is None else self._accelerated.index(version)

    def _approximate(
        self, accelerator: Accelerator | None, unit: Tensor, n: int, keep: Callable[[str], bool]
    ) -> tuple[list[str], FloatArray | None]:
        """Ids of at least n candidates to keep, or all there are; and their vectors if they are at hand."""
        query, n_candidates = unit.numpy(), max(2 * n, _MIN_CANDIDATES)
        while True:
            vectors: FloatArray | None = None
            if accelerator is not None:
                found, vectors = accelerator.nearest_named(query, n_candidates)
            else:
                found = [id for id, _ in self._store.nearest(query, n_candidates)]
            kept = [place for place, id in enumerate(found) if keep(id)]
            if len(kept) >= n:
                return [found[place] for place in kept], None if vectors is None else vectors[kept]
            n_candidates *= _WIDENING
            if len(found) < n_candidates // _WIDENING or n_candidates > _MAX_CANDIDATES:
                return self._scan(unit, n, keep), None

    def _scan(self, unit: Tensor, n: int, keep: Callable[[str], bool]) -> list[str]:
        """Ids of the n exact nearest records to keep."""
        best_ids: list[str] = []
        best, query = torch.empty(0), unit.numpy()
        for ids, embeddings in self._store.batches():
            cosines = embeddings @ query
            worst = float(best[-1]) if len(best) == n else -np.inf
            rows = [row for row in np.flatnonzero(cosines > worst) if keep(ids[row])]
            names = best_ids + [ids[row] for row in rows]
            top = torch.cat([best, torch.from_numpy(cosines[rows])]).topk(min(n, len(names)))
            best, best_ids = top.values, [names[i] for i in top.indices.tolist()]
        return best_ids

    def _passing_ids(self, version: int, where: Where) -> frozenset[str]:
        key = repr(where)
        held = self._ids
        if held is None or held[:2] != (version, key):
            records = self._store.records()
            is_passing = which_pass(records, where)
            ids = frozenset(record.id for record, passes in zip(records, is_passing, strict=True) if passes)
            self._ids = held = (version, key, ids)
        return held[2]

    def _scored(self, ids: Sequence[str], unit: Tensor, n: int, passes: Predicate | None) -> Shortlist:
        """The n best of the given records by exact cosine."""
        records = self._store.records(ids)
        gallery = torch.from_numpy(self._store.embeddings([record.id for record in records]))
        best = (gallery @ unit).topk(min(n, len(records)))
        ranking = Ranking(unit[None], gallery, best.indices[None], best.values[None])
        return Shortlist(ranking, records, passes)


def hits_of(shortlist: Shortlist, ranking: Ranking, k: int) -> list[tuple[int, float]]:
    """Return the first k (row, score) of a ranking of one query that pass the shortlist's filter."""
    rows = ranking.indices[0].tolist()
    scores = ranking.scores[0].tolist()
    allowed = shortlist.ranking.allowed
    shown = [(r, s) for r, s in zip(rows, scores, strict=True) if allowed is None or bool(allowed[r])]
    return shown[:k]


def cosines(shortlist: Shortlist, rows: Sequence[int]) -> list[float]:
    """Return the cosines, [-1, 1], of the query with rows of the shortlist's gallery."""
    ranking = shortlist.ranking
    values = ranking.gallery[torch.tensor(list(rows), dtype=torch.long)] @ ranking.queries[0]
    return [float(value) for value in np.clip(values.numpy(), -1.0, 1.0)]
