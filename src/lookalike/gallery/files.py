"""Edits of records: the files that hold a content, and their metadata."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lookalike.store import Committed, Copy, Entry, Record, VectorStore


def absolute(path: str | Path) -> str:
    """Return the path as a gallery stores it: absolute, without ``..``, symbolic links unresolved."""
    return os.path.normpath(Path(path).absolute())


@dataclass
class Edit:
    """Changes to one record, collected file by file and applied at the next commit."""

    found: dict[str, int] = field(default_factory=dict)  # path with this content -> its mtime_ns
    gone: set[str] = field(default_factory=set)  # paths that no longer have this content
    metadata: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # path -> its metadata


def edited(record: Record, edit: Edit) -> Record | None:
    """Return the record after an edit; None if no file with its content is left."""
    for path, mtime_ns in edit.found.items():
        record = _with_file(record, path, mtime_ns)
    left = without_files(record, edit.gone)
    if left is None:
        return None
    for path, values in edit.metadata.items():
        left = _with_metadata(left, path, values)
    return left


def without_files(record: Record, paths: Collection[str]) -> Record | None:
    """Return the record without these paths, led by the first that is left; None if none is."""
    left = [file for file in record.files if file.path not in paths]
    if not left:
        return None
    return replace(record, path=left[0].path, mtime_ns=left[0].mtime_ns, copies=tuple(left[1:]))


def apply_edits(store: VectorStore, edits: Mapping[str, Edit], entries: Sequence[Entry] = ()) -> Committed:
    """Add entries, apply edits by record id and remove records without a file, all in one commit.

    A file whose content changed leaves its old record as it enters the new one, or neither.
    """
    records = store.records(list(edits)) if edits else []
    after = [edited(record, edits[record.id]) for record in records]
    changed = [new for old, new in zip(records, after, strict=True) if new is not None and new != old]
    removed = [old.id for old, new in zip(records, after, strict=True) if new is None]
    if not (entries or changed or removed):
        return Committed(0, 0)
    return store.commit(entries, changed, removed)


def _with_file(record: Record, path: str, mtime_ns: int) -> Record:
    if path == record.path:
        return replace(record, mtime_ns=mtime_ns)
    copies = {copy.path: copy for copy in record.copies} | {path: Copy(path, mtime_ns)}
    return replace(record, copies=tuple(copies.values()))


def _with_metadata(record: Record, path: str, values: Mapping[str, Any]) -> Record:
    """The record with a file's metadata: the first file's values replace, a copy's only fill gaps."""
    is_first = path == record.path
    return replace(
        record, metadata={**record.metadata, **values} if is_first else {**values, **record.metadata}
    )
