"""Records of a vector store, and the protocol that every store implements.

Records are keyed by content: two files with the same content are one record with a copy. Metadata belongs to
the file: each copy has its own.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lookalike.types import FloatArray

_UNIT_TOLERANCE = 1e-2  # of the squared length: half precision is off by less than 2e-3
_ID_DIGITS = 20  # 80 bits: two different files among a million share one with probability 4e-13


@dataclass(frozen=True)
class Copy:
    """A file with a record's content."""

    path: str
    mtime_ns: int  # modification time, nanoseconds since 1970
    metadata: Mapping[str, Any] = field(default_factory=dict, hash=False)  # of this file; JSON types


@dataclass(frozen=True, repr=False)
class Record:
    """One image of a gallery, without its embedding."""

    id: str  # the first 20 hexadecimal digits of the hash
    path: str  # absolute; the first file with this content
    hash: str  # SHA-256 of the file, hexadecimal
    size: int  # bytes
    mtime_ns: int  # modification time of path, nanoseconds since 1970
    metadata: Mapping[str, Any] = field(default_factory=dict)  # of path; JSON types
    copies: tuple[Copy, ...] = ()  # further files with this content

    @property
    def files(self) -> tuple[Copy, ...]:
        """All files with this content, the first one included."""
        return (Copy(self.path, self.mtime_ns, self.metadata), *self.copies)

    def with_files(self, files: Sequence[Copy]) -> Record:
        """Return the record with these files, at least one, the first of which leads it."""
        first, *others = files
        return replace(
            self,
            path=first.path,
            mtime_ns=first.mtime_ns,
            metadata=first.metadata,
            copies=tuple(others),
        )

    def with_passing_files(self, passes: Callable[[Mapping[str, Any]], bool]) -> Record:
        """Return the record with only the files whose metadata passes; unchanged if none does."""
        chosen = [file for file in self.files if passes(file.metadata)]
        return self.with_files(chosen) if chosen and len(chosen) <= len(self.copies) else self

    def values_of(self, name: str) -> list[Any]:
        """Return the distinct values that the files have in a metadata field; None and "" are no values."""
        found: list[Any] = []
        for metadata in (self.metadata, *(copy.metadata for copy in self.copies)):
            value = metadata.get(name)
            if value not in (None, "") and value not in found:
                found.append(value)
        return found

    def __hash__(self) -> int:
        return hash((self.id, self.path, self.mtime_ns))

    def __repr__(self) -> str:
        copies = f", {len(self.copies)} copies" if self.copies else ""
        return f"Record({self.id!r}, {Path(self.path).name!r}, {self.size} bytes{copies})"


@dataclass(frozen=True)
class Entry:
    """A record to be added to a store, with its embedding and shares."""

    record: Record
    embedding: FloatArray  # (D,) float32, unit length
    shares: bytes | None = None  # packed, see gallery.packing; None if the gallery keeps none


@dataclass(frozen=True)
class Snapshot:
    """All records and embeddings of one version of a store, row by row."""

    version: int
    records: Sequence[Record]
    embeddings: FloatArray  # (G, D) float32, unit length


@dataclass(frozen=True)
class Committed:
    """What one commit changed."""

    added: int  # entries with new ids
    removed: int  # records


def damaged_rows(embeddings: FloatArray) -> list[int]:
    """Return the rows of (B, D) that are not of unit length: zero, NaN, or changed on the disk."""
    squares = np.einsum("bd,bd->b", embeddings, embeddings, dtype=np.float64)
    return np.flatnonzero(~(np.abs(squares - 1) <= _UNIT_TOLERANCE)).tolist()


def check_units(entries: Sequence[Entry], width: int) -> None:
    """Raise ValueError for an embedding that has another width or is not of unit length."""
    for entry in entries:
        if entry.embedding.shape != (width,):
            raise ValueError(f"embeddings must have width {width} here, got {entry.embedding.shape}")
        if damaged_rows(entry.embedding[None]):
            length = float(np.linalg.norm(entry.embedding))
            raise ValueError(
                f"embeddings must be of length 1, got {length:g} for {entry.record.path}; normalize it, "
                "or leave an image out that the model gives no direction for"
            )


def record_id(content_hash: str) -> str:
    """Return the id of the record whose content has this SHA-256."""
    return content_hash[:_ID_DIGITS]


class VectorStore(Protocol):
    """Records and unit embeddings by id; similarities are cosines, higher is closer."""

    @property
    def width(self) -> int:
        """D, the length of every embedding."""
        ...

    @property
    def version(self) -> int:
        """A number that increases with every change, by any process."""
        ...

    def __len__(self) -> int: ...

    def add(self, entries: Sequence[Entry]) -> int:
        """Add entries with new ids and return their number; known ids are skipped.

        Raises ValueError for embeddings of another width.
        """
        ...

    def update(self, records: Sequence[Record]) -> None:
        """Replace records with the same ids; embeddings are kept and unknown ids ignored."""
        ...

    def revise(self, ids: Sequence[str], change: Callable[[Record], Record]) -> list[Record]:
        """Replace records by what ``change`` makes of them, with no other writer in between.

        Returns those that it changed, as they are now; unknown ids are ignored. An error that ``change``
        raises leaves everything as it was.
        """
        ...

    def remove(self, ids: Sequence[str]) -> int:
        """Remove records by id and return how many were removed."""
        ...

    def commit(self, entries: Sequence[Entry], records: Sequence[Record], ids: Sequence[str]) -> Committed:
        """Add entries, replace records and remove ids in one step: all of it is stored, or nothing.

        Raises ValueError for embeddings of another width or that are not of unit length.
        """
        ...

    def doubled(self) -> list[str]:
        """Return the ids that several rows have, and those of records that have a path in common."""
        ...

    def drop_repeated(self, ids: Sequence[str]) -> int:
        """Keep one row, the last, of each of these ids; return how many rows were dropped."""
        ...

    def set_embeddings(self, ids: Sequence[str], embeddings: FloatArray) -> None:
        """Replace the embeddings (B, D) of known records, which were damaged."""
        ...

    def raw_batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Yield what ``batches`` yields, with embeddings as they are stored, damaged ones included."""
        ...

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """Return all records, or those with the given ids, in that order; unknown ids are left out."""
        ...

    def record_batches(self) -> Iterator[Sequence[Record]]:
        """Yield all records of one version in batches, so that a large store needs no memory for all."""
        ...

    def snapshot(self) -> Snapshot:
        """Return all records and embeddings of one version."""
        ...

    def batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Yield ids and embeddings (B, D) float32 of one version in batches, in the order of ``snapshot``."""
        ...

    def embeddings(self, ids: Sequence[str]) -> FloatArray:
        """Return embeddings (B, D) float32 in the order of B ids. Raises KeyError for an unknown id."""
        ...

    def nearest(self, query: FloatArray, n: int) -> list[tuple[str, float]]:
        """Return ids and cosines of the n records nearest to a unit vector (D,) float32, best first."""
        ...

    def shares(self, id: str) -> bytes | None:
        """Return the packed shares of a record; None if there are none."""
        ...

    def versions(self) -> Sequence[tuple[int, datetime.datetime]]:
        """Return the earlier states that can still be read, newest first: number and time."""
        ...

    def records_at(self, version: int) -> Sequence[Record]:
        """Return all records of an earlier state. Raises GalleryError if it can't be read any more."""
        ...

    def entries_at(self, version: int, ids: Sequence[str]) -> list[Entry]:
        """Return the entries with these ids of an earlier state; raises as ``records_at``."""
        ...

    def optimize(self) -> None:
        """Compact the storage after many small additions; the content is unchanged."""
        ...

    def index_ids(self) -> None:
        """Make records fast to find by id, where they are not already."""
        ...

    def build_index(self) -> int:
        """Build an index that makes ``nearest`` fast and approximate; return the number of records.

        Records added later are found as well.
        """
        ...
