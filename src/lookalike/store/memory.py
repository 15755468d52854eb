"""Vector store in memory: exact, not saved, and the reference for the others."""

from __future__ import annotations

import datetime
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from lookalike.errors import GalleryError
from lookalike.store.records import Committed, Entry, Record, Snapshot, check_units
from lookalike.types import FloatArray


@final
class MemoryStore:
    """A VectorStore in a dictionary."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._version = 1
        self._entries: dict[str, Entry] = {}

    @property
    def width(self) -> int:
        """D, the length of every embedding."""
        return self._width

    @property
    def version(self) -> int:
        """A number that increases with every change."""
        return self._version

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Sequence[Entry]) -> int:
        """Add entries with new ids and return their number."""
        check_units(entries, self._width)
        before = len(self)
        for entry in entries:
            self._entries.setdefault(entry.record.id, entry)
        self._version += len(self) > before
        return len(self) - before

    def update(self, records: Sequence[Record]) -> None:
        """Replace records with the same ids; embeddings are kept."""
        for record in records:
            if record.id in self._entries:
                self._entries[record.id] = replace(self._entries[record.id], record=record)
        self._version += 1

    def revise(self, ids: Sequence[str], change: Callable[[Record], Record]) -> list[Record]:
        """Replace records by what ``change`` makes of them; return those that it changed."""
        before = self.records(ids)
        after = [change(record) for record in before]
        changed = [new for old, new in zip(before, after, strict=True) if new != old]
        if changed:
            self.update(changed)
        return changed

    def remove(self, ids: Sequence[str]) -> int:
        """Remove records by id and return how many were removed."""
        removed = sum(self._entries.pop(id, None) is not None for id in ids)
        self._version += removed > 0
        return removed

    def commit(self, entries: Sequence[Entry], records: Sequence[Record], ids: Sequence[str]) -> Committed:
        """Add entries, replace records and remove ids."""
        added = self.add(entries)
        if records:
            self.update(records)
        return Committed(added, self.remove(ids))

    def doubled(self) -> list[str]:
        """Return the ids of records that have a path in common with another."""
        holders = Counter(file.path for record in self.records() for file in record.files)
        return [r.id for r in self.records() if any(holders[file.path] > 1 for file in r.files)]

    def drop_repeated(self, ids: Sequence[str]) -> int:
        """Return 0: an id has one row."""
        return 0

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """Return all records, or those with the given ids, in that order."""
        wanted = self._entries if ids is None else ids
        return [self._entries[id].record for id in wanted if id in self._entries]

    def record_batches(self) -> Iterator[Sequence[Record]]:
        """Yield all records, in one batch."""
        yield self.records()

    def snapshot(self) -> Snapshot:
        """Return all records and embeddings."""
        return Snapshot(self._version, self.records(), self.embeddings(list(self._entries)))

    def batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Yield ids and embeddings (B, D) float32, in one batch."""
        if self._entries:
            yield list(self._entries), self.embeddings(list(self._entries))

    def set_embeddings(self, ids: Sequence[str], embeddings: FloatArray) -> None:
        """Replace the embeddings (B, D) of known records."""
        for id, embedding in zip(ids, embeddings, strict=True):
            self._entries[id] = replace(self._entries[id], embedding=embedding)
        self._version += 1

    def raw_batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Yield what ``batches`` yields."""
        return self.batches()

    def embeddings(self, ids: Sequence[str]) -> FloatArray:
        """Return embeddings (B, D) float32 in the order of B ids. Raises KeyError for an unknown id."""
        rows = [self._entries[id].embedding for id in ids]
        return np.stack(rows) if rows else np.empty((0, self._width), np.float32)

    def nearest(self, query: FloatArray, n: int) -> list[tuple[str, float]]:
        """Return ids and cosines of the n nearest records, best first."""
        cosines = {id: float(entry.embedding @ query) for id, entry in self._entries.items()}
        return sorted(cosines.items(), key=lambda found: -found[1])[:n]

    def shares(self, id: str) -> bytes | None:
        """Return the packed shares of a record; None if there are none."""
        return self._entries[id].shares if id in self._entries else None

    def versions(self) -> Sequence[tuple[int, datetime.datetime]]:
        """Return nothing: no earlier state is kept."""
        return ()

    def records_at(self, version: int) -> Sequence[Record]:
        """Raise GalleryError: no earlier state is kept."""
        raise GalleryError(f"a gallery in memory has no version {version}; only those on disk keep versions")

    def entries_at(self, version: int, ids: Sequence[str]) -> list[Entry]:
        """Raise GalleryError: no earlier state is kept."""
        raise GalleryError(f"a gallery in memory has no version {version}; only those on disk keep versions")

    def optimize(self) -> None:
        """Do nothing: there are no fragments to compact."""

    def index_ids(self) -> None:
        """Do nothing: ids are looked up in a dictionary."""

    def build_index(self) -> int:
        """Return the number of records; every search is exact without an index."""
        return len(self)
