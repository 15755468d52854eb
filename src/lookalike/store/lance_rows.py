"""Rows of the table of a gallery: its schema, and records as rows and back."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.store.fast_columns import fast_column
from lookalike.store.records import Copy, Entry, Record, VectorStore
from lookalike.types import FloatArray
from lookalike.types.machine import return_free_memory
from lookalike.types.on_demand import OnDemand

_COPIES = pa.list_(pa.struct([("path", pa.string()), ("mtime_ns", pa.int64())]))
_FIELDS = (
    ("id", pa.string()),
    ("path", pa.string()),
    ("hash", pa.string()),
    ("size", pa.int64()),
    ("mtime_ns", pa.int64()),
    ("metadata", pa.string()),  # JSON: an object of all files, or a list with an object of each
    ("copies", _COPIES),
)
RECORD_COLUMNS = [name for name, _ in _FIELDS]
_PIECE = 8192  # rows that become records at once
_BETWEEN_RETURNS = 64  # batches
_METADATA = json.JSONDecoder(parse_constant=lambda _: None)  # NaN of earlier versions


class RecordRows(OnDemand[Record]):
    """Records constructed from a table's columns on access, which takes a tenth of the memory."""

    def __init__(self, rows: pa.Table) -> None:
        self._rows = rows.combine_chunks()
        columns = [_whole(self._rows.column(name)) for name in RECORD_COLUMNS]
        self._ids = columns[0]
        self._columns = [fast_column(column) for column in columns]

    def __len__(self) -> int:
        return int(self._rows.num_rows)

    @property
    def ids(self) -> pa.Array:
        """The ids of all records."""
        return self._ids

    def item(self, index: int) -> Record:
        """Return the record of a row."""
        return self.taken([index])[0]

    def taken(self, rows: Sequence[int]) -> list[Record]:
        """Return the records of some rows, converted together."""
        chosen = np.asarray(rows, dtype=np.int64)
        return _records_of([column.take(chosen) for column in self._columns])

    def __iter__(self) -> Iterator[Record]:
        for batch in self._rows.to_batches(_PIECE):
            yield from _records_of([column.to_pylist() for column in batch.columns])

    def paths(self) -> Iterator[tuple[int, str]]:
        """Yield the row and the path of each file."""
        start = 0
        for batch in self._rows.to_batches(_PIECE):
            yield from enumerate(batch.column("path").to_pylist(), start)
            copies = batch.column("copies")
            others = pc.struct_field(pc.list_flatten(copies), "path").to_pylist()
            parents = pc.list_parent_indices(copies).to_pylist()
            yield from ((start + row, path) for row, path in zip(parents, others, strict=True))
            start += batch.num_rows

    def counts(self) -> tuple[int, Counter[str]]:
        """Return the number of files, and that of records with each field of metadata."""
        n_copies = pc.sum(pc.list_value_length(self._rows.column("copies"))).as_py() or 0
        fields: Counter[str] = Counter()
        for batch in self._rows.to_batches(_PIECE):
            for found in pc.value_counts(batch.column("metadata")).to_pylist():
                stored = _METADATA.decode(found["values"])
                names = set().union(*stored) if isinstance(stored, list) else stored
                fields.update(dict.fromkeys(names, found["counts"]))
        return len(self) + n_copies, fields


def _whole(column: pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """A column as one array, unless its texts take more than the 2 GB that one array may have."""
    if column.num_chunks > 1:
        return column
    return column.chunk(0) if column.num_chunks else pa.array([], column.type)


def ids_of(records: Sequence[Record]) -> pa.Array:
    """Return the ids of records as an Arrow array."""
    return (
        records.ids
        if isinstance(records, RecordRows)
        else pa.array([each.id for each in records], pa.string())
    )


def paths_of(records: Sequence[Record]) -> Iterator[tuple[int, str]]:
    """Yield the row and the path of each file of records."""
    if isinstance(records, RecordRows):
        return records.paths()
    return ((row, file.path) for row, record in enumerate(records) for file in record.files)


def counts_of(records: Sequence[Record]) -> tuple[int, Counter[str]]:
    """Return the number of files of records, and that of records with each field of metadata."""
    if isinstance(records, RecordRows):
        return records.counts()
    names = (name for record in records for name in {n for file in record.files for n in file.metadata})
    return sum(len(record.files) for record in records), Counter(names)


def all_ids(store: VectorStore) -> pa.Array:
    """Return the ids of a store in the order of its records, without these where it can."""
    ids: Callable[[], pa.Array] | None = getattr(store, "ids", None)
    return ids_of(store.records()) if ids is None else ids()


def taken_records(records: Sequence[Record], rows: Sequence[int]) -> list[Record]:
    """Return the records of some rows, together where that is faster."""
    taken: Callable[[Sequence[int]], list[Record]] | None = getattr(records, "taken", None)
    return [records[row] for row in rows] if taken is None else taken(rows)


def table_schema(width: int) -> pa.Schema:
    """Return the columns of a table of embeddings of this width."""
    vector = pa.list_(pa.float32(), width)
    return pa.schema([*_FIELDS, ("embedding", vector), ("shares", pa.large_binary())])


def record_rows(records: Sequence[Record]) -> pa.Table:
    """Return records as rows without embeddings and shares."""
    columns: dict[str, list[Any]] = {
        "id": [record.id for record in records],
        "path": [record.path for record in records],
        "hash": [record.hash for record in records],
        "size": [record.size for record in records],
        "mtime_ns": [record.mtime_ns for record in records],
        "metadata": [_metadata_text(record) for record in records],
        "copies": [
            [{"path": copy.path, "mtime_ns": copy.mtime_ns} for copy in record.copies] for record in records
        ],
    }
    return pa.table([pa.array(columns[name], kind) for name, kind in _FIELDS], schema=pa.schema(_FIELDS))


def doubled_ids(rows: pa.Table) -> list[str]:
    """Return the ids of several rows, and those of rows that have a path in common."""
    ids = rows.column("id")
    copies = rows.column("copies").combine_chunks()
    others = pc.struct_field(pc.list_flatten(copies), "path")
    holders = pc.take(ids.combine_chunks(), pc.list_parent_indices(copies))
    paths = pa.chunked_array([*rows.column("path").chunks, others], pa.string())
    held = pa.table({"path": paths, "id": pa.chunked_array([*ids.chunks, holders], pa.string())})
    if pc.count_distinct(ids).as_py() == len(ids) and pc.count_distinct(paths).as_py() == len(paths):
        return []
    counts = held.group_by("path").aggregate([("id", "count")])
    shared = counts.filter(pc.greater(counts["id_count"], 1)).column("path")
    of_paths = held.filter(pc.is_in(held["path"], shared)).column("id").to_pylist()
    return list(dict.fromkeys([*of_paths, *(id for id, n in Counter(ids.to_pylist()).items() if n > 1)]))


def gathered(batches: Iterable[pa.RecordBatch], count: int, width: int) -> tuple[pa.Table, FloatArray]:
    """Return the records and the embeddings (G, D) of batches, with ``count`` rows or more together.

    At no time is there a second copy of all embeddings.
    """
    embeddings = np.empty((count, width), np.float32)
    records: list[pa.RecordBatch] = []
    done = 0
    for number, batch in enumerate(batches):
        if number % _BETWEEN_RETURNS == 0:
            return_free_memory()  # what the reader's threads freed is a quarter of the vectors
        n = batch.num_rows
        if done + n > len(embeddings):  # added since they were counted
            embeddings = np.concatenate([embeddings[:done], np.empty((n, width), np.float32)])
        flat = batch.column("embedding").flatten().to_numpy(zero_copy_only=False)
        embeddings[done : done + n] = flat.reshape(n, width)
        done += n
        records.append(batch.select(RECORD_COLUMNS).take(pa.array(np.arange(n))))  # lets the batch go
    return _joined(records), embeddings[:done]


def _joined(batches: list[pa.RecordBatch]) -> pa.Table:
    """The rows of record batches in one piece; the list loses columns on the way, so little is held twice."""
    columns = []
    for name, kind in _FIELDS:
        parts = pa.chunked_array([batch.column(name) for batch in batches], kind)
        columns.append(pa.table([parts], names=[name]).combine_chunks().column(0))  # several beyond 2 GB
        batches[:] = [batch.drop_columns([name]) for batch in batches]
    return pa.table(columns, schema=pa.schema(_FIELDS))


def _metadata_text(record: Record) -> str:
    each = [json.dumps(dict(file.metadata), ensure_ascii=False) for file in record.files]
    return each[0] if len(set(each)) == 1 else f"[{', '.join(each)}]"


def whole_rows(entries: Sequence[Entry], width: int) -> pa.Table:
    """Return entries as whole rows of the table."""
    rows = record_rows([entry.record for entry in entries])
    vectors = np.array([entry.embedding for entry in entries], np.float32).reshape(len(entries), width)
    embeddings = pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), width)
    shares = pa.array([entry.shares for entry in entries], pa.large_binary())
    return rows.append_column("embedding", embeddings).append_column("shares", shares)


def _records_of(columns: Sequence[Sequence[Any]]) -> list[Record]:
    """Return the records of rows, given by the values of ``RECORD_COLUMNS``."""
    return [
        record_of(dict(zip(RECORD_COLUMNS, (id, path, hash, size, mtime_ns, text, copies), strict=True)))
        if copies or text.startswith("[")  # several files
        else Record(id, path, hash, size, mtime_ns, {} if text == "{}" else _METADATA.decode(text))
        for id, path, hash, size, mtime_ns, text, copies in zip(*columns, strict=True)
    ]


def record_of(row: dict[str, Any]) -> Record:
    """Return the record of a row."""
    copies = row["copies"] or ()
    stored = _METADATA.decode(row["metadata"])
    first, *others = stored if isinstance(stored, list) else [stored] * (1 + len(copies))
    return Record(
        id=row["id"],
        path=row["path"],
        hash=row["hash"],
        size=row["size"],
        mtime_ns=row["mtime_ns"],
        metadata=first,
        copies=tuple(
            Copy(copy["path"], copy["mtime_ns"], metadata)
            for copy, metadata in zip(copies, others, strict=True)
        ),
    )
