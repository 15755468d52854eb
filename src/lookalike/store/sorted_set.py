"""A set of numbers or short texts in a tenth of the memory of Python's."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, final

import numpy as np

_LEAST_WAITING = 4096
_PART_WAITING = 32  # of a sorted set's values may wait to be merged into it

_Value = TypeVar("_Value", str, int)


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
