"""The reference store: plain Python, exact, gone when the process ends."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import final

import numpy as np

from lookalike.store.records import Entry, Record, Snapshot
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
        """Grows with every change."""
        return self._version

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, entries: Sequence[Entry]) -> int:
        """Add those whose id is new and say how many were."""
        before = len(self)
        for entry in entries:
            if entry.embedding.shape != (self._width,):
                raise ValueError(f"embeddings here have {self._width} numbers, got {entry.embedding.shape}")
            self._entries.setdefault(entry.record.id, entry)
        self._version += len(self) > before
        return len(self) - before

    def update(self, records: Sequence[Record]) -> None:
        """Write records in place of those with their ids; embeddings stay."""
        for record in records:
            if record.id in self._entries:
                self._entries[record.id] = replace(self._entries[record.id], record=record)
        self._version += 1

    def remove(self, ids: Sequence[str]) -> int:
        """Remove what has these ids and say how many there were."""
        removed = sum(self._entries.pop(id, None) is not None for id in ids)
        self._version += removed > 0
        return removed

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """All records, or those with these ids in their order."""
        wanted = self._entries if ids is None else ids
        return [self._entries[id].record for id in wanted if id in self._entries]

    def snapshot(self) -> Snapshot:
        """Everything but the shares."""
        return Snapshot(self._version, self.records(), self.embeddings(list(self._entries)))

    def batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Ids and embeddings, in one piece."""
        if self._entries:
            yield list(self._entries), self.embeddings(list(self._entries))

    def embeddings(self, ids: Sequence[str]) -> FloatArray:
        """Embeddings in the order of the ids. Raises KeyError for an unknown id."""
        rows = [self._entries[id].embedding for id in ids]
        return np.stack(rows) if rows else np.empty((0, self._width), np.float32)

    def nearest(self, query: FloatArray, n: int) -> list[tuple[str, float]]:
        """Ids and cosines of the n nearest records, best first."""
        cosines = {id: float(entry.embedding @ query) for id, entry in self._entries.items()}
        return sorted(cosines.items(), key=lambda found: -found[1])[:n]

    def shares(self, id: str) -> bytes | None:
        """The packed shares kept for a record."""
        return self._entries[id].shares if id in self._entries else None

    def optimize(self) -> None:
        """Nothing to tidy up."""

    def build_index(self) -> int:
        """Nothing to build: every search is exact."""
        return len(self)
