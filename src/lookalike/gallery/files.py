"""Edits of records: the files that hold a content, and the metadata of each."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lookalike.images import is_remote, remote_uri
from lookalike.store import Committed, Copy, Entry, Record, VectorStore


def absolute(path: str | Path) -> str:
    """Return the path as a gallery stores it: absolute, without ``..``, symbolic links unresolved.

    What lies at ``s3://`` is stored by its URI.
    """
    if is_remote(path):
        return remote_uri(path)
    return os.path.normpath(Path(path).absolute())


@dataclass
class Edit:
    """Changes to one record, collected file by file and applied at the next commit."""

    found: dict[str, int] = field(default_factory=dict)  # path with this content -> its mtime_ns
    gone: set[str] = field(default_factory=set)  # paths that no longer have this content
    moved: dict[str, str] = field(default_factory=dict)  # new path -> the former one, which it replaces
    absent: dict[str, str] = field(default_factory=dict)  # new path -> one of the same name, not found now
    kept: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # path -> its own with another content
    metadata: dict[str, Mapping[str, Any]] = field(default_factory=dict)  # path -> values given now


def edited(record: Record, edit: Edit) -> Record | None:
    """Return the record after an edit; None if no file with its content is left.

    A moved file keeps its metadata, and so do one that was overwritten with this content, and one whose
    namesake is not found now, since its folder was renamed or is away. Given values replace those of the
    file; None removes one.
    """
    files = {file.path: file for file in record.files}
    for path, mtime_ns in edit.found.items():
        former = edit.moved.get(path, path)
        if former not in files and path not in edit.kept:
            former = edit.absent.get(path, path)
            metadata = files[former].metadata if former in files else {}
            files[path] = Copy(path, mtime_ns, metadata)
            continue
        metadata = files[former].metadata if former in files else edit.kept[path]
        if former in files and former != path:
            files = {path if name == former else name: file for name, file in files.items()}
        files[path] = Copy(path, mtime_ns, metadata)
    for path, values in edit.metadata.items():
        if path in files:
            files[path] = replace(files[path], metadata=updated(files[path].metadata, values))
    left = [file for path, file in files.items() if path not in edit.gone or path in edit.found]
    return record.with_files(left) if left else None


def updated(metadata: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata with values replaced and added; a value None removes the field."""
    return {name: value for name, value in {**metadata, **values}.items() if value is not None}


def json_values(path: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return metadata of a file as it is. Raises ValueError for what JSON lacks, such as NaN or a date."""
    for name, value in values.items():
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"metadata must be text, finite numbers, true, false, None, lists and objects of these; got "
                f"{name}={value!r} for {path}; convert it, such as with str or float, or give None"
            ) from error
    return dict(values)


def moved_files(record: Record, edit: Edit, is_gone: Callable[[str], bool]) -> dict[str, str]:
    """Return former paths by new path: files found at new paths that replace files of the record.

    A file is replaced if it has another content now or is gone. Equal names are paired first.
    """
    known = {file.path for file in record.files}
    new = [path for path in edit.found if path not in known]
    former = [
        path
        for path in (sorted(known) if new else ())
        if path not in edit.found and (path in edit.gone or is_gone(path))
    ]
    pairs: dict[str, str] = {}
    for same_name in (True, False):
        for path in [path for path in new if path not in pairs]:
            fits = (old for old in former if not same_name or Path(old).name == Path(path).name)
            if (chosen := next(fits, None)) is not None:
                pairs[path] = chosen
                former.remove(chosen)
    return pairs


def absent_namesakes(record: Record, edit: Edit, is_there: Callable[[str], bool]) -> dict[str, str]:
    """Return by new path a file of the record that has its name and is not found, but may only be away.

    Where a folder was renamed, that is each of its files. They stay in the record.
    """
    known = {file.path for file in record.files}
    new = [path for path in edit.found if path not in known and path not in edit.moved]
    away = [path for path in sorted(known - set(edit.moved.values())) if new and not is_there(path)]
    found = {path: next((old for old in away if Path(old).name == Path(path).name), None) for path in new}
    return {path: old for path, old in found.items() if old is not None}


def field_differences(record: Record) -> list[str]:
    """Say in which metadata fields the files of a record have different values, a clause for each field."""
    names = dict.fromkeys(name for file in record.files for name in file.metadata)
    found: list[str] = []
    for name in names:
        if len(values := record.values_of(name)) > 1:
            firsts = [next(f for f in record.files if f.metadata.get(name) == value) for value in values]
            each = ", ".join(f"{file.path} has {value!r}" for file, value in zip(firsts, values, strict=True))
            found.append(f"{name}: {each}")
    return found


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
    return store.commit([_after(entry, edits) for entry in entries], changed, removed)


def _after(entry: Entry, edits: Mapping[str, Edit]) -> Entry:
    """An entry that is about to be stored, with the files of the same content found since it was embedded."""
    if entry.record.id not in edits:
        return entry
    record = edited(entry.record, edits[entry.record.id])
    return entry if record is None else replace(entry, record=record)
