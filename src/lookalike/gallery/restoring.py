"""Bringing back what a gallery has forgotten, from the earlier versions that its store keeps."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from lookalike.errors import GalleryError
from lookalike.store import Record, VectorStore


@dataclass(frozen=True)
class EarlierVersion:
    """An earlier state of a gallery, and the files that the gallery has forgotten since."""

    version: int
    written: str  # date and time, ISO 8601
    n_images: int
    forgotten: tuple[str, ...]  # files that it had and the gallery lacks now


def earlier_versions(store: VectorStore) -> list[EarlierVersion]:
    """Return the earlier states that can still be read, newest first."""
    return list(_versions(store))


def restore_forgotten(store: VectorStore, version: int | None = None) -> EarlierVersion:
    """Bring back the files that an earlier state had and the gallery lacks now; keep all that came since.

    By default the state is the newest that has any. Raises GalleryError if there is none, and for a
    version that can't be read.
    """
    if version is None:
        found = next((each for each in _versions(store) if each.forgotten), None)
        if found is None:
            raise GalleryError("no earlier version that is kept has a file that this gallery lacks")
    else:
        times = dict(store.versions())
        if version not in times:
            known = ", ".join(map(str, times)) or "none"
            raise GalleryError(f"there is no earlier version {version}; there are {known}")
        found = _version(store, version, times[version], _Now(store))
    now = _Now(store)
    lost = {record.id: record for record in now.lacking(store.records_at(found.version))}
    store.add(
        [
            replace(entry, record=lost[entry.record.id])
            for entry in store.entries_at(found.version, [id for id in lost if id not in now.n_files])
        ]
    )
    kept = store.records([id for id in lost if id in now.n_files])
    store.update([record.with_files([*record.files, *lost[record.id].files]) for record in kept])
    return found


class _Now:
    """Files of a gallery's present state."""

    def __init__(self, store: VectorStore) -> None:
        self.n_files: dict[str, int] = {}  # id -> number of files
        self._paths: set[str] = set()
        for record in store.records():
            self.n_files[record.id] = len(record.files)
            self._paths.update(file.path for file in record.files)

    def lacking(self, records: Sequence[Record]) -> Iterator[Record]:
        """Yield the given records with only the files that were forgotten.

        Not forgotten are paths that hold another content now, and those that others replaced (moved files).
        """
        for record in records:
            n_less = len(record.files) - self.n_files.get(record.id, 0)
            lost = [file for file in record.files if file.path not in self._paths]
            if lost and n_less > 0:
                yield record.with_files(lost[:n_less])


def _versions(store: VectorStore) -> Iterator[EarlierVersion]:
    now = _Now(store)
    for version, time in store.versions():
        yield _version(store, version, time, now)


def _version(store: VectorStore, version: int, time: datetime.datetime, now: _Now) -> EarlierVersion:
    records = store.records_at(version)
    lost = tuple(file.path for record in now.lacking(records) for file in record.files)
    return EarlierVersion(version, time.isoformat(sep=" ", timespec="seconds"), len(records), lost)
