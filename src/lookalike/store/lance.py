"""Vector store on disk: one LanceDB table per gallery, at a local path or an object store's URI.

Every change, a ``commit`` included, creates one version of the table atomically: a killed process leaves
the last complete version. LanceDB's distances are converted to cosines here.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.errors import GalleryError, first_line
from lookalike.store.earlier import EarlierVersions
from lookalike.store.forgotten import ForgottenRows
from lookalike.store.known_ids import KnownIds
from lookalike.store.lance_imports import BTree, IvfRq
from lookalike.store.lance_rows import (
    RECORD_COLUMNS,
    RecordRows,
    doubled_ids,
    gathered,
    record_of,
    record_rows,
    table_schema,
    whole_rows,
)
from lookalike.store.lance_tables import TABLE, connected, one_of
from lookalike.store.one_writer import Reaching, one_writer
from lookalike.store.records import Committed, Entry, Record, Snapshot, check_units, damaged_rows
from lookalike.store.upkeep import Upkeep
from lookalike.store.uris import plain_uri
from lookalike.types import FloatArray

_VECTORS, _IDS = "embedding_idx", "id_idx"  # indices
_PIECE = 8192  # rows per batch when the whole table is read
_READ = 1024  # rows per batch when vectors and records are read: the reader holds some batches for each core
_REFINE = 20  # candidates per result that LanceDB re-scores exactly, if the table has an index
_TRIES = 3  # of a read, while another process compacts
_RABIT = 8  # RaBitQ needs a width that is a multiple of this
_COARSEST_TIME_NS = 3 * 10**9  # of a file system: a commit within it may leave the folder's time as it was
_STALE = 0.1  # fraction of unindexed rows above which an index is rebuilt


@final
class LanceStore:
    """A VectorStore in a LanceDB table, created if it does not exist.

    Raises GalleryError if the table can't be opened or has another width.
    """

    def __init__(self, uri: str | Path, width: int) -> None:
        self._width = width
        uri = plain_uri(uri)
        try:
            self._table: Any = connected(uri).create_table(TABLE, schema=table_schema(width), exist_ok=True)
        except (RuntimeError, ValueError, OSError) as error:
            raise GalleryError(
                f"the table of {width} dimensions at {uri} can't be opened: {first_line(error)}"
            ) from error
        self._uri = uri
        self._one_writer = one_writer(uri)
        folder = None if "://" in uri else Path(uri)
        self._commits = None if folder is None else folder / f"{TABLE}.lance" / "_versions"
        self._known: tuple[int, int] | None = None  # time of the last commit, version
        self._ids: KnownIds | None = None  # of some version; the writer's
        self._upkeep = Upkeep(folder, TABLE)
        self._forgotten = None if folder is None else ForgottenRows(folder)
        self._earlier = EarlierVersions(uri, self._forgotten)

    @property
    def width(self) -> int:
        """D, the length of every embedding."""
        return self._width

    @property
    def version(self) -> int:
        """The latest version of the table, written by any process."""
        changed = self._last_commit()
        if self._known is not None and self._known[0] == changed:
            return self._known[1]
        with Reaching(self._uri):
            self._table.checkout_latest()
            version = int(self._table.version)
        is_settled = changed is not None and time.time_ns() - changed > _COARSEST_TIME_NS
        self._known = (changed, version) if changed is not None and is_settled else None
        return version

    def _last_commit(self) -> int | None:
        """When the folder of versions was changed, in nanoseconds; None where that can't be told."""
        try:
            return None if self._commits is None else self._commits.stat().st_mtime_ns
        except OSError:
            return None

    def __len__(self) -> int:
        return int(self._read(self._table.count_rows))

    def add(self, entries: Sequence[Entry]) -> int:
        """Add entries with new ids in one version; return their number."""
        return self.commit(entries, (), ()).added

    def update(self, records: Sequence[Record]) -> None:
        """Replace records with the same ids; embeddings are kept."""
        self.commit((), records, ())

    def revise(self, ids: Sequence[str], change: Callable[[Record], Record]) -> list[Record]:
        """Replace records by what ``change`` makes of them, in one version; return those that it changed."""
        with self._one_writer:
            before = self.records(ids)
            after = [change(record) for record in before]
            changed = [new for old, new in zip(before, after, strict=True) if new != old]
            if changed:
                self.update(changed)  # the lock is held by this thread already
        return changed

    def remove(self, ids: Sequence[str]) -> int:
        """Remove records by id and return how many were removed."""
        return self.commit((), (), ids).removed

    def commit(self, entries: Sequence[Entry], records: Sequence[Record], ids: Sequence[str]) -> Committed:
        """Add entries, replace records and remove ids in one version of the table.

        Only of more than 8,192 ids some are removed in versions of their own, after the others.
        """
        check_units(entries, self._width)
        with self._one_writer:  # concurrent inserts would not see each other's ids
            self._table.checkout_latest()
            new = self._new(entries, int(self._table.version))
            source = self._source(new, records)
            added, removed, rest = 0, 0, list(ids)
            if self._forgotten is not None and not entries:
                self._forgotten.keep(int(self._table.version), self._lost(records, ids))  # before it is lost
            if source is not None and not records and not ids:
                self._table.add(source)  # at a million rows a merge takes twice as long, and more memory
                added = source.num_rows
            elif source is not None:
                first, rest = rest[:_PIECE], rest[_PIECE:]
                result = self._merge(source, bool(records), first)
                added, removed = int(result.num_inserted_rows), int(result.num_deleted_rows)
            for start in range(0, len(rest), _PIECE):
                removed += int(self._table.delete(one_of(rest[start : start + _PIECE])).num_deleted_rows)
            self._note_ids(new)
            self._upkeep.after_commit(self._table, 0 if source is None else source.num_rows)
            self._note_ids(())
        return Committed(added, removed)

    def _new(self, entries: Sequence[Entry], version: int) -> dict[str, Entry]:
        """The entries whose ids this version of the table lacks, by id, each once."""
        if self._ids is not None and self._ids.version != version:
            self._ids = None  # somebody else has written
        if not entries:
            return {}
        if self._ids is None:
            with Reaching(self._uri):
                batches = self._table.search().select(["id"]).to_batches(_PIECE)
                self._ids = KnownIds(version, (batch.column("id").to_pylist() for batch in batches))
        new = {entry.record.id: entry for entry in reversed(entries)}
        known = {row["id"] for row in self._rows(list(self._ids.maybe_known(new)), ["id"])}
        return {id: entry for id, entry in reversed(new.items()) if id not in known}

    def _note_ids(self, new: Collection[str]) -> None:
        """Keep the known ids if nobody else can have written since: under the lock, or by the version."""
        version, known = int(self._table.version), self._ids
        is_locked = self._commits is not None
        if known is not None and (is_locked or version == known.version + bool(new)):
            known.take_in(new, version)
        else:
            self._ids = None

    def _source(self, new: Mapping[str, Entry], records: Sequence[Record]) -> pa.Table | None:
        """The rows that a commit writes; those of records lack embeddings unless entries come too."""
        if not new:
            return record_rows(records) if records else None
        added = whole_rows(list(new.values()), self._width)
        return pa.concat_tables([added, self._whole_rows(records)]) if records else added

    def _whole_rows(self, records: Sequence[Record]) -> pa.Table:
        """Rows of known records with their stored embeddings and shares; unknown ids are left out."""
        columns = ["id", "embedding", "shares"]
        stored = {row["id"]: row for row in self._rows([record.id for record in records], columns)}
        kept = [
            Entry(r, np.array(stored[r.id]["embedding"], np.float32), stored[r.id]["shares"])
            for r in records
            if r.id in stored
        ]
        return whole_rows(kept, self._width)

    def _lost(self, records: Sequence[Record], ids: Sequence[str]) -> Iterator[pa.Table]:
        """Stored rows that are to be removed, or to lose a file."""
        n_files = {record.id: len(record.files) for record in records}
        losing = [
            row["id"]
            for row in self._rows(list(n_files), ["id", "copies"])
            if 1 + len(row["copies"] or ()) > n_files[row["id"]]
        ]
        columns = [*RECORD_COLUMNS, "embedding", "shares"]
        for part in (ids, losing):
            for start in range(0, len(part), _PIECE):
                condition = one_of(part[start : start + _PIECE])
                yield self._read(partial(self._where, condition, columns))

    def _merge(self, source: pa.Table, replaces: bool, removed: Sequence[str]) -> Any:
        merge = self._table.merge_insert("id")
        if replaces:
            merge = merge.when_matched_update_all()
        if "embedding" in source.column_names:
            merge = merge.when_not_matched_insert_all()
        if removed:
            merge = merge.when_not_matched_by_source_delete(one_of(removed))
        return merge.execute(source)

    def set_embeddings(self, ids: Sequence[str], embeddings: FloatArray) -> None:
        """Replace the embeddings (B, D) of known records, which were damaged."""
        vectors = pa.FixedSizeListArray.from_arrays(pa.array(embeddings.ravel()), self._width)
        with self._one_writer:
            self._table.checkout_latest()
            rows = pa.table({"id": pa.array(ids, pa.string()), "embedding": vectors})
            self._table.merge_insert("id").when_matched_update_all().execute(rows)

    def doubled(self) -> list[str]:
        """Return the ids that several rows have, and those of records that have a path in common."""
        rows = self._read(lambda: self._table.search().select(["id", "path", "copies"]).to_arrow())
        return doubled_ids(rows)

    def drop_repeated(self, ids: Sequence[str]) -> int:
        """Keep one row, the last, of each of these ids; return how many rows were dropped."""
        with self._one_writer:
            self._table.checkout_latest()
            rows = self._table.search().where(one_of(ids)).select(["id"]).with_row_id(True).to_arrow()
            numbers: dict[str, list[int]] = {}
            for id, number in zip(rows["id"].to_pylist(), rows["_rowid"].to_pylist(), strict=True):
                numbers.setdefault(id, []).append(number)
            dropped = [number for each in numbers.values() for number in sorted(each)[:-1]]
            if dropped:
                self._table.delete(f"_rowid IN ({', '.join(map(str, dropped))})")
        return len(dropped)

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """Return all records, or those with the given ids, in that order."""
        if ids is None:
            return RecordRows(self._read(lambda: self._table.search().select(RECORD_COLUMNS).to_arrow()))
        by_id = {row["id"]: record_of(row) for row in self._rows(ids, RECORD_COLUMNS)}
        return [by_id[id] for id in ids if id in by_id]

    def ids(self) -> pa.Array:
        """Return all ids, in the order of ``records``."""
        return self._read(lambda: self._table.search().select(["id"]).to_arrow())["id"].combine_chunks()

    def record_batches(self) -> Iterator[Sequence[Record]]:
        """Yield all records of one version in batches."""
        with Reaching(self._uri):
            self._table.checkout_latest()
            for batch in self._table.search().select(RECORD_COLUMNS).to_batches(_PIECE):
                if batch.num_rows:
                    yield list(RecordRows(pa.Table.from_batches([batch])))

    def snapshot(self) -> Snapshot:
        """Return all records and embeddings of one version."""
        version, rows, embeddings = self._read(self._all_rows)
        self._refuse_damaged(rows.column("id"), embeddings)
        return Snapshot(version, RecordRows(rows), embeddings)

    def _all_rows(self) -> tuple[int, pa.Table, FloatArray]:
        version = int(self._table.version)
        batches = self._table.search().select([*RECORD_COLUMNS, "embedding"]).to_batches(_READ)
        return version, *gathered(batches, int(self._table.count_rows()), self._width)

    def batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Yield ids and embeddings (B, D) float32 of one version in batches.

        Raises GalleryError for an embedding not of unit length, as ``snapshot`` and ``embeddings`` do.
        """
        for ids, embeddings in self.raw_batches():
            self._refuse_damaged(ids, embeddings)
            yield ids, embeddings

    def raw_batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Yield what ``batches`` yields, with embeddings as they are stored, damaged ones included."""
        with Reaching(self._uri):
            self._table.checkout_latest()
            for batch in self._table.search().select(["id", "embedding"]).to_batches(_PIECE):
                if batch.num_rows:
                    yield batch.column("id").to_pylist(), self._matrix(batch.column("embedding"))

    def embeddings(self, ids: Sequence[str]) -> FloatArray:
        """Return embeddings (B, D) float32 in the order of B ids. Raises KeyError for an unknown id."""
        found = np.empty((len(ids), self._width), np.float32)
        for start in range(0, len(ids), _PIECE):
            part = ids[start : start + _PIECE]
            rows = self._read(partial(self._where, one_of(part), ["id", "embedding"]))
            places = pc.index_in(pa.array(part, pa.string()), value_set=rows["id"].combine_chunks())
            if places.null_count:
                raise KeyError(part[places.is_null().index(True).as_py()])
            embeddings = self._matrix(rows["embedding"].combine_chunks())
            found[start : start + len(part)] = embeddings[places.to_numpy()]
        self._refuse_damaged(ids, found)
        return found

    def nearest(self, query: FloatArray, n: int) -> list[tuple[str, float]]:
        """Return ids and cosines of the n nearest records, best first; exact unless there is an index."""

        def search() -> Any:
            near = self._table.search(query, vector_column_name="embedding").distance_type("dot")
            return near.refine_factor(_REFINE).select(["id", "_distance"]).limit(n).to_arrow()

        rows = self._read(search).to_pylist()
        return [(row["id"], 1.0 - row["_distance"]) for row in rows]

    def shares(self, id: str) -> bytes | None:
        """Return the packed shares of a record; None if there are none."""
        rows = self._rows([id], ["id", "shares"])
        packed: bytes | None = rows[0]["shares"] if rows else None
        return packed

    def versions(self) -> Sequence[tuple[int, datetime.datetime]]:
        """Return the earlier versions that can still be read, newest first: number and local time."""
        return self._earlier.versions(self._table, self.version)

    def records_at(self, version: int) -> Sequence[Record]:
        """Return all records of an earlier version, or those that it lost if no others are kept.

        Raises GalleryError if it can't be read any more.
        """
        return RecordRows(self._earlier.rows(version, RECORD_COLUMNS))

    def entries_at(self, version: int, ids: Sequence[str]) -> list[Entry]:
        """Return the entries with these ids of an earlier version; raises as ``records_at``."""
        rows: list[dict[str, Any]] = []
        columns = [*RECORD_COLUMNS, "embedding", "shares"]
        for start in range(0, len(ids), _PIECE):
            rows += self._earlier.rows(version, columns, ids[start : start + _PIECE]).to_pylist()
        return [Entry(record_of(row), np.array(row["embedding"], np.float32), row["shares"]) for row in rows]

    def optimize(self) -> None:
        """Compact the fragments of many small additions and drop earlier versions, see ``Upkeep``."""
        with self._one_writer:
            self._table.checkout_latest()
            self._upkeep.tidy(self._table)

    def build_index(self) -> int:
        """Build IVF with RaBitQ codes (1 bit per dimension) over the embeddings, and a tree over the ids.

        Returns the number of rows. Rows added later are searched exactly until another call finds too
        many of them and rebuilds the index. A width that is no multiple of 8 is always searched exactly.
        """
        with self._one_writer:
            if self._width % _RABIT == 0 and self._is_stale(_VECTORS):
                config = IvfRq(distance_type="dot", num_bits=1)
                self._table.create_index("embedding", config=config, name=_VECTORS)
            self.index_ids()  # the lock is held by this thread already
            return int(self._table.count_rows())

    def index_ids(self) -> None:
        """Build a tree over the ids, unless there is one that few rows are missing in."""
        with self._one_writer:
            if self._is_stale(_IDS):
                self._table.create_index("id", config=BTree(), name=_IDS)

    def _is_stale(self, name: str) -> bool:
        """Whether too many rows of the latest version are missing in an index."""
        self._table.checkout_latest()
        count = int(self._table.count_rows())
        return bool(count and self._missing_in_index(name) > _STALE * count)

    def _missing_in_index(self, name: str) -> float:
        """The number of rows missing in an index; infinity if there is no index."""
        statistics = self._table.index_stats(name)
        return float("inf") if statistics is None else float(statistics.num_unindexed_rows)

    def _rows(self, ids: Sequence[str], columns: list[str]) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        for start in range(0, len(ids), _PIECE):
            condition = one_of(ids[start : start + _PIECE])
            rows += self._read(partial(self._where, condition, columns)).to_pylist()
        return rows

    def _where(self, condition: str, columns: list[str]) -> pa.Table:
        return self._table.search().where(condition).select(columns).to_arrow()

    def _read(self, work: Callable[[], Any]) -> Any:
        """Do the work on the latest version; again if its files were compacted away meanwhile."""
        with Reaching(self._uri):
            return self._read_latest(work)

    def _read_latest(self, work: Callable[[], Any]) -> Any:
        for _ in range(_TRIES - 1):
            self._table.checkout_latest()
            try:
                return work()
            except (RuntimeError, ValueError, OSError) as error:
                if "not found" not in str(error).lower():
                    raise
        self._table.checkout_latest()
        return work()

    def _refuse_damaged(self, ids: Any, embeddings: FloatArray) -> None:
        if rows := damaged_rows(embeddings):
            id = str(ids[rows[0]])
            path = self.records([id])[0].path
            raise GalleryError(
                f"{len(rows)} stored embeddings are damaged (not of length 1), such as that of {path}; "
                f"run lookalike gallery check -g {self._uri} --repair"
            )

    def _matrix(self, column: pa.Array) -> FloatArray:
        flat = column.flatten().to_numpy(zero_copy_only=False)
        return np.asarray(flat, dtype=np.float32).reshape(-1, self._width)
