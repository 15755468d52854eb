"""What a worker does with a shard of files, and the rows that it writes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pyarrow as pa

from lookalike.errors import StoreUnreachableError, UnreadableImageError
from lookalike.gallery.add_run import BATCH
from lookalike.gallery.embedding import EmbeddedFile, NotEmbedded, embed_files
from lookalike.images import DecodedFile, Decoders, FoundFile, status_of
from lookalike.images.limits import Limits, set_limits
from lookalike.models.embedder import Embedder
from lookalike.store import record_id
from lookalike.store.sorted_set import SortedSet


@dataclass(frozen=True)
class UnreadableFile:
    """A file that could not be decoded."""

    path: str
    reason: str


Result = EmbeddedFile | NotEmbedded | UnreadableFile | DecodedFile  # the last: hashed, its content is known

_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("hash", pa.string()),
        ("size", pa.int64()),
        ("mtime_ns", pa.int64()),
        ("embedding", pa.list_(pa.float32())),  # null: nothing was embedded
        ("shares", pa.large_binary()),
        ("unreadable", pa.string()),  # the reason
        ("failed", pa.string()),  # why the model gave no embedding
    ]
)


@dataclass(frozen=True)
class ShardWork:
    """What every worker needs: the model, and what the gallery holds already."""

    embedder: Embedder
    keep_shares: bool
    ids: SortedSet[str]  # of known contents, which are not embedded again
    sizes: SortedSet[int]  # of known contents, bytes
    limits: Limits

    def start(self) -> _Worker:
        """Return the function of items that a worker calls; called once in each."""
        set_limits(self.limits)
        return _Worker(self)


@final
class _Worker:
    def __init__(self, work: ShardWork) -> None:
        self._work = work

    def __call__(self, files: Sequence[str | FoundFile], is_suspect: bool) -> pa.Table:
        """Rows for files; where one may have crashed a worker, each is decoded in a process of its own."""
        results: list[Result] = []
        batch: list[DecodedFile] = []
        with Decoders(1 if is_suspect else 0, self._work.embedder.preprocessing) as decoders:
            for file in files:
                found = self._read(file, decoders)
                if isinstance(found, DecodedFile) and found.pixels is not None:
                    batch.append(found)
                else:
                    results.append(found)
                if len(batch) == BATCH:
                    results += self._embedded(batch)
                    batch = []
        results += self._embedded(batch)
        place = {path_in_list(file): number for number, file in enumerate(files)}
        return results_to_rows(sorted(results, key=lambda result: place[path_of(result)]))

    def _embedded(self, batch: Sequence[DecodedFile]) -> list[EmbeddedFile | NotEmbedded]:
        return embed_files(batch, self._work.embedder, keep_shares=self._work.keep_shares)

    def _read(self, file: str | FoundFile, decoders: Decoders) -> DecodedFile | UnreadableFile:
        try:
            if self._has_known_size(file):
                found = decoders.hash(file).result()
                if record_id(found.hash) in self._work.ids:
                    return found
            return decoders.decode(file).result()
        except StoreUnreachableError:
            raise
        except UnreadableImageError as error:
            path = path_in_list(file)
            return UnreadableFile(path, str(error).removeprefix(f"{path}: "))

    def _has_known_size(self, file: str | FoundFile) -> bool:
        try:
            return (file if isinstance(file, FoundFile) else status_of(file)).size in self._work.sizes
        except (OSError, ValueError, UnreadableImageError):
            return False


def path_in_list(file: str | FoundFile) -> str:
    """Return the path of an item of a shard."""
    return file.path if isinstance(file, FoundFile) else file


def path_of(result: Result) -> str:
    """Return the path of the file that a result is about."""
    return result.path if isinstance(result, UnreadableFile | DecodedFile) else result.file.path


def results_to_rows(results: Sequence[Result]) -> pa.Table:
    """Return results as rows of a shard."""
    return pa.Table.from_pylist([_row(result) for result in results], schema=_SCHEMA)


def rows_to_results(rows: pa.Table) -> Iterator[Result]:
    """Yield the results that a shard's rows hold."""
    for row in rows.to_pylist():
        if row["unreadable"] is not None:
            yield UnreadableFile(row["path"], row["unreadable"])
            continue
        file = DecodedFile(row["path"], row["hash"], row["size"], row["mtime_ns"], None, None)
        if row["failed"] is not None:
            yield NotEmbedded(file, row["failed"])
        elif row["embedding"] is None:
            yield file
        else:
            yield EmbeddedFile(file, np.array(row["embedding"], np.float32), row["shares"])


def _row(result: Result) -> dict[str, Any]:
    if isinstance(result, UnreadableFile):
        return {"path": result.path, "unreadable": result.reason}
    file = result if isinstance(result, DecodedFile) else result.file
    row: dict[str, Any] = {
        "path": file.path,
        "hash": file.hash,
        "size": file.size,
        "mtime_ns": file.mtime_ns,
    }
    if isinstance(result, NotEmbedded):
        row["failed"] = result.reason
    elif isinstance(result, EmbeddedFile):
        row |= {"embedding": result.embedding, "shares": result.shares}
    return row
