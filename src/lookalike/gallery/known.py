"""What a gallery holds already, in a hundred bytes a file: asked for each file that is to be added."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, Generic, TypeVar, final

import numpy as np

from lookalike.store import VectorStore

_ID = np.dtype("S20")  # an id's 20 digits; see store.records
_FILE = np.dtype([("path", np.uint64), ("id", _ID), ("size", np.int64), ("mtime_ns", np.int64)])
_LEAST_WAITING = 4096
_PART_WAITING = 32  # of a sorted set's values may wait to be merged into it

_Value = TypeVar("_Value", str, int)


@dataclass(frozen=True)
class KnownFile:
    """What the gallery noted of a file when it was added."""

    id: str  # of its record
    size: int  # bytes
    mtime_ns: int  # nanoseconds since 1970


@final
class SortedSet(Generic[_Value]):
    """A set of numbers, or of short ASCII texts, in one sorted array: a tenth of what a ``set`` takes."""

    def __init__(self, values: np.ndarray[Any, Any]) -> None:
        self._sorted = np.unique(values)
        self._waiting: set[Any] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._waiting)

    def __contains__(self, value: _Value) -> bool:
        plain = self._plain(value)
        return plain in self._waiting or self._is_sorted(plain)

    def add(self, value: _Value) -> None:
        """Add a value."""
        if value in self:
            return
        self._waiting.add(self._plain(value))
        if len(self._waiting) > max(_LEAST_WAITING, len(self._sorted) // _PART_WAITING):
            new = np.sort(np.array(list(self._waiting), self._sorted.dtype))
            self._sorted = np.insert(self._sorted, self._sorted.searchsorted(new), new)
            self._waiting.clear()

    def discard(self, value: _Value) -> None:
        """Remove a value that may be in the set."""
        plain = self._plain(value)
        self._waiting.discard(plain)
        if self._is_sorted(plain):
            self._sorted = np.delete(self._sorted, self._sorted.searchsorted(self._scalar(plain)))

    def _is_sorted(self, plain: bytes | int) -> bool:
        row = int(self._sorted.searchsorted(self._scalar(plain)))
        return row < len(self._sorted) and bool(self._sorted[row] == plain)

    def _scalar(self, plain: bytes | int) -> np.ndarray[Any, Any]:
        return np.array(
            plain, self._sorted.dtype
        )  # else a number would turn the whole array into another type

    @staticmethod
    def _plain(value: str | int) -> bytes | int:
        return value.encode() if isinstance(value, str) else value


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
