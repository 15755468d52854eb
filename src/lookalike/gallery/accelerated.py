"""Approximate first-stage search by the accelerator, which follows the table's changes."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor

from lookalike.errors import GalleryError
from lookalike.store import Record, VectorStore
from lookalike.store.accelerator import Accelerator, accelerator_folder, load_accelerator
from lookalike.store.lance_rows import all_ids, ids_of, taken_records
from lookalike.types import FloatArray, Ranking
from lookalike.types.on_demand import OnDemand

_FEWEST_CANDIDATES = 64


@final
class Accelerated:
    """The accelerator of a gallery's folder at the latest version of its table.

    What the table gained and lost since the index was written is taken in, and written for others where
    the folder can be written. Threads take turns.
    """

    def __init__(self, store: VectorStore, folder: Path, fingerprint: str) -> None:
        self._store, self._folder, self._fingerprint = store, folder, fingerprint
        self._turn = threading.RLock()  # rows belong to one state of the index
        self._at: int | None = None  # the table's version that the next three are of
        self._index: Accelerator | None = None
        self._records: Sequence[Record] = ()
        self._rows = np.empty(0, np.int64)  # of the index's positions in the records

    def index(self, version: int) -> Accelerator | None:
        """Return the index of this version; None if there is none, or too much has changed since."""
        with self._turn:
            if self._at != version:
                self._index, self._records = self._brought_to(version), ()
                self._at = version
            return self._index

    def forget(self) -> None:
        """Drop what is loaded, so that it is loaded again."""
        with self._turn:
            self._at = self._index = None

    def ranking(
        self, version: int, unit: Tensor, n: int, n_context: int, without: str | None
    ) -> tuple[Ranking, Sequence[Record]] | None:
        """Return the first-stage ranking of a unit vector (D,), and the records of its gallery's rows.

        Holds all records in memory. None if fewer than n are found though there are more.
        """
        with self._turn:
            index = self.index(version)
            if index is None:
                return None
            if not len(self._records):
                self._records = self._store.records()
                self._rows = index.rows_in(ids_of(self._records))
            records, rows_of = self._records, self._rows
            positions, vectors = index.nearest(unit.numpy(), max(2 * n, n_context, _FEWEST_CANDIDATES))
        n = min(n, len(records))
        rows = rows_of[positions]
        is_kept = rows >= 0  # -1: removed this moment
        if without is not None:
            is_kept &= np.array([records[row].id != without for row in rows], dtype=bool)
        rows, vectors = rows[is_kept], vectors[is_kept]
        if len(rows) < n:
            return None
        gallery = torch.from_numpy(vectors)
        best = (gallery @ unit).topk(n)
        ranking = Ranking(unit[None], gallery, best.indices[None], best.values[None])
        first = best.indices.tolist()
        made = dict(zip(first, taken_records(records, rows[first].tolist()), strict=True))
        return ranking, _Some(records, rows, made)

    def _brought_to(self, version: int) -> Accelerator | None:
        index = self._index
        if index is None or index.folder != accelerator_folder(self._folder):
            index = load_accelerator(self._folder, self._fingerprint, self._store.width)
        if index is None or index.version == version:
            return index
        if not index.bring_to(version, all_ids(self._store), self._embeddings):
            return None
        with suppress(GalleryError):  # a gallery that can't be written is searched all the same
            index.save(self._folder)
        return index

    def _embeddings(self, ids: Sequence[str]) -> FloatArray:
        return self._store.embeddings(ids)


@final
class _Some(OnDemand[Record]):
    """Some of the records: those that are made already, and others made when they are asked for."""

    def __init__(
        self,
        records: Sequence[Record],
        rows: np.ndarray[tuple[int], np.dtype[np.int64]],
        made: Mapping[int, Record],
    ) -> None:
        self._records, self._rows, self._made = records, rows, made

    def __len__(self) -> int:
        return len(self._rows)

    def item(self, index: int) -> Record:
        """Return one of them."""
        made = self._made.get(index)
        return self._records[int(self._rows[index])] if made is None else made

    def taken(self, rows: Sequence[int]) -> list[Record]:
        """Return some of them."""
        made = self._made
        return [made[row] if row in made else self[row] for row in rows]


def ranked_by_id(
    store: VectorStore, ids: Sequence[str], vectors: FloatArray, unit: Tensor, n: int
) -> tuple[Ranking, Sequence[Record]]:
    """Return the ranking of the n best vectors (C, D) for a unit vector (D,), and the records of all of them.

    Records of the best are read now, others when they are asked for; one that was removed this moment is no
    result.
    """
    gallery = torch.from_numpy(vectors)
    best = (gallery @ unit).topk(min(n, len(ids)))
    made = {record.id: record for record in store.records([ids[row] for row in best.indices.tolist()])}
    is_there = torch.tensor([ids[row] in made for row in best.indices.tolist()], dtype=torch.bool)
    ranking = Ranking(unit[None], gallery, best.indices[is_there][None], best.values[is_there][None])
    return ranking, _ById(store, ids, made)


@final
class _ById(OnDemand[Record]):
    """Records with these ids: those that were read already, and others read from the table when asked for."""

    def __init__(self, store: VectorStore, ids: Sequence[str], made: Mapping[str, Record]) -> None:
        self._store, self._ids, self._made = store, ids, dict(made)

    def __len__(self) -> int:
        return len(self._ids)

    def item(self, index: int) -> Record:
        """Return one of them. Raises GalleryError if it was removed meanwhile."""
        return self.taken([index])[0]

    def taken(self, rows: Sequence[int]) -> list[Record]:
        """Return some of them; raises as ``item``."""
        ids = [self._ids[row] for row in rows]
        if lacking := [id for id in ids if id not in self._made]:
            self._made |= {record.id: record for record in self._store.records(lacking)}
        try:
            return [self._made[id] for id in ids]
        except KeyError as error:
            raise GalleryError(f"record {error} was removed during the search; search again") from None
