"""What a gallery holds already, in a hundred bytes a file: asked for each file that is to be added."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, final

import numpy as np

from lookalike.store import VectorStore
from lookalike.store.sorted_set import SortedSet

_ID = np.dtype("S20")  # an id's 20 digits; see store.records
_FILE = np.dtype([("path", np.uint64), ("id", _ID), ("size", np.int64), ("mtime_ns", np.int64)])


@dataclass(frozen=True)
class KnownFile:
    """What the gallery noted of a file when it was added."""

    id: str  # of its record
    size: int  # bytes
    mtime_ns: int  # nanoseconds since 1970


@final
class KnownContent:
    """Ids, sizes and files of a store, as they were when this was made; ids and sizes can be added.

    A file is found by 64 bits of a hash of its path: that another path of a million shares them has
    probability 3e-8, and it would then need the size and time of that file to be taken for it.
    """

    def __init__(self, store: VectorStore) -> None:
        ids: list[np.ndarray[Any, Any]] = [np.empty(0, _ID)]
        shared: set[str] = set()
        files: list[np.ndarray[Any, Any]] = [np.empty(0, _FILE)]
        for records in store.record_batches():
            ids.append(np.array([record.id for record in records], _ID))
            shared.update(record.id for record in records if record.copies)
            rows = [
                (_path_number(file.path), record.id, record.size, file.mtime_ns)
                for record in records
                for file in record.files
            ]
            files.append(np.array(rows, _FILE))
        self._files = np.concatenate(files)
        self._files.sort(order="path")
        self.ids: SortedSet[str] = SortedSet(np.concatenate(ids))
        self.sizes: SortedSet[int] = SortedSet(self._files["size"])
        self.shared = shared  # ids of records that have several files

    def file(self, path: str) -> KnownFile | None:
        """Return what is known of a file; None if it is not in the store."""
        number = np.array(_path_number(path), np.uint64)
        row = int(self._files["path"].searchsorted(number))
        if row == len(self._files) or self._files["path"][row] != number:
            return None
        _, id, size, mtime_ns = self._files[row].item()
        return KnownFile(id.decode(), size, mtime_ns)


def _path_number(path: str) -> int:
    return int.from_bytes(blake2b(path.encode(), digest_size=8).digest(), "big")
