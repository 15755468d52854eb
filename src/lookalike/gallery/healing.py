"""Healing of files that two records claim, as interrupted updates of earlier versions left them."""

from __future__ import annotations

from pathlib import Path

from lookalike.errors import UnreadableImageError
from lookalike.gallery.files import Edit, apply_edits
from lookalike.images import status_of
from lookalike.store import Manifest, Record, VectorStore


def may_have_doubles(manifest: Manifest, uri: str | Path) -> bool:
    """Whether a gallery was begun by a version whose updates left doubles, or lies where there is no lock.

    Looking for them reads the ids and paths of all rows, a second for a million.
    """
    return "://" in str(uri) or manifest.version.startswith("0.1.")


def heal_doubles(store: VectorStore) -> int:
    """Leave each id one row and each file one record; return how many rows or claims were dropped.

    The file stays with the record whose size and time it has on the disk; if none has, with the one of the
    latest time, for that was indexed last.
    """
    ids = store.doubled()
    if not ids:
        return 0
    dropped = store.drop_repeated(ids)
    holders: dict[str, list[tuple[Record, int]]] = {}
    for record in store.records(ids):
        for file in record.files:
            holders.setdefault(file.path, []).append((record, file.mtime_ns))
    edits: dict[str, Edit] = {}
    for path, claims in holders.items():
        keeper = _keeper(path, claims)
        for record, _ in claims:
            if record.id != keeper.id:
                edits.setdefault(record.id, Edit()).gone.add(path)
                dropped += 1
    apply_edits(store, edits)
    return dropped


def _keeper(path: str, claims: list[tuple[Record, int]]) -> Record:
    try:
        status = status_of(path)
        on_disk = (status.size, status.mtime_ns)
    except (OSError, UnreadableImageError):
        on_disk = None
    return max(claims, key=lambda claim: ((claim[0].size, claim[1]) == on_disk, claim[1]))[0]
