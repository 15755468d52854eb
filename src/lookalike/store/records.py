"""What a store holds, and the few verbs that every store has.

One record is one content: a picture that lies in two files is one record with a copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from lookalike.types import FloatArray

_ID_DIGITS = 20  # 80 bits: two different files among a million share one with probability 4e-13


@dataclass(frozen=True)
class Copy:
    """Another file with the same content."""

    path: str
    mtime_ns: int  # modification time, nanoseconds since 1970


@dataclass(frozen=True, repr=False)
class Record:
    """One image of a gallery, without its embedding."""

    id: str  # the first 20 hexadecimal digits of the hash
    path: str  # absolute; the first file that had this content
    hash: str  # SHA-256 of the file, hexadecimal
    size: int  # bytes
    mtime_ns: int  # modification time of path, nanoseconds since 1970
    metadata: Mapping[str, Any] = field(default_factory=dict)  # JSON types
    copies: tuple[Copy, ...] = ()  # further files with this content

    @property
    def files(self) -> tuple[Copy, ...]:
        """Every file with this content, the first one included."""
        return (Copy(self.path, self.mtime_ns), *self.copies)

    def __hash__(self) -> int:
        return hash((self.id, self.path, self.mtime_ns))

    def __repr__(self) -> str:
        copies = f", {len(self.copies)} copies" if self.copies else ""
        return f"Record({self.id!r}, {Path(self.path).name!r}, {self.size} bytes{copies})"


@dataclass(frozen=True)
class Entry:
    """A record on its way into a store."""

    record: Record
    embedding: FloatArray  # (D,) unit length
    shares: bytes | None = None  # packed, see gallery.packing; None where the gallery keeps none


@dataclass(frozen=True)
class Snapshot:
    """All records and embeddings of one version of a store, row by row."""

    version: int
    records: Sequence[Record]
    embeddings: FloatArray  # (G, D) float32, unit length


def record_id(content_hash: str) -> str:
    """The id of the record whose content has this SHA-256."""
    return content_hash[:_ID_DIGITS]


class VectorStore(Protocol):
    """Records and unit embeddings by id; similarities are cosines, higher is closer."""

    @property
    def width(self) -> int:
        """D, the length of every embedding."""
        ...

    @property
    def version(self) -> int:
        """A number that grows with every change, whoever makes it."""
        ...

    def __len__(self) -> int: ...

    def add(self, entries: Sequence[Entry]) -> int:
        """Add those whose id is new and say how many were; the others are left as they are."""
        ...

    def update(self, records: Sequence[Record]) -> None:
        """Write these records in place of those with their ids; embeddings stay. Unknown ids: nothing."""
        ...

    def remove(self, ids: Sequence[str]) -> int:
        """Remove what has these ids and say how many there were."""
        ...

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """All records, or those with these ids in their order; unknown ids are left out."""
        ...

    def snapshot(self) -> Snapshot:
        """Everything but the shares, of one version."""
        ...

    def batches(self) -> Iterator[tuple[list[str], FloatArray]]:
        """Ids and embeddings of one version piece by piece, in the order of ``snapshot``."""
        ...

    def embeddings(self, ids: Sequence[str]) -> FloatArray:
        """Embeddings (len(ids), D) in the order of the ids. Raises KeyError for an unknown id."""
        ...

    def nearest(self, query: FloatArray, n: int) -> list[tuple[str, float]]:
        """Ids and cosines of the n records nearest to a unit vector (D,), best first."""
        ...

    def shares(self, id: str) -> bytes | None:
        """The packed shares kept for a record; None where there are none."""
        ...

    def optimize(self) -> None:
        """Tidy up what many small additions left; the content stays."""
        ...

    def build_index(self) -> int:
        """Make ``nearest`` fast on millions of records, and approximate; how many there are.

        Records that are added later are found too.
        """
        ...
