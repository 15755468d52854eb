"""Columns of a table in memory, of which a few values are taken without Arrow: its calls would cost more."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

RowNumbers = np.ndarray[Any, Any]


class Column(Protocol):
    """A column of a table."""

    def take(self, rows: RowNumbers) -> list[Any]:
        """Return the values of some rows, int64."""
        ...


class _Texts:
    """A column of texts of which none is null."""

    def __init__(self, column: pa.Array) -> None:
        _, offsets, data = column.buffers()
        self._offsets = np.frombuffer(offsets, np.int32)[column.offset :]
        self._data = memoryview(data if data is not None else b"")

    def take(self, rows: RowNumbers) -> list[str]:
        data, starts, ends = self._data, self._offsets[rows].tolist(), self._offsets[rows + 1].tolist()
        return [str(data[start:end], "utf-8") for start, end in zip(starts, ends, strict=True)]


class _Numbers:
    """A column of integers."""

    def __init__(self, column: pa.Array) -> None:
        self._numbers = column.to_numpy()

    def take(self, rows: RowNumbers) -> list[int]:
        return list(self._numbers[rows].tolist())


class _Lists:
    """A column of lists, most of which are empty or null: None stands for both if it is for all."""

    def __init__(self, column: pa.Array) -> None:
        self._column = column
        self._lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)

    def take(self, rows: RowNumbers) -> list[Any]:
        if not self._lengths[rows].any():
            return [None] * len(rows)
        return list(self._column.take(pa.array(rows)).to_pylist())


class _Others:
    """A column with nulls, with nothing, or in several pieces."""

    def __init__(self, column: pa.Array | pa.ChunkedArray) -> None:
        self._column = column

    def take(self, rows: RowNumbers) -> list[Any]:
        return list(self._column.take(pa.array(rows)).to_pylist())


def fast_column(column: pa.Array | pa.ChunkedArray) -> Column:
    """Return a column of texts, integers or lists."""
    if isinstance(column, pa.ChunkedArray):
        return _Others(column)
    if pa.types.is_list(column.type):
        return _Lists(column)
    if column.null_count or not len(column):
        return _Others(column)
    return _Texts(column) if pa.types.is_string(column.type) else _Numbers(column)
