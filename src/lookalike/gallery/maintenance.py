"""Maintenance of a gallery: removing records, bringing them back, building the search index."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from lookalike.errors import GalleryError
from lookalike.gallery.files import Edit, absolute, apply_edits
from lookalike.gallery.nearest import Searcher
from lookalike.images import is_remote
from lookalike.store import VectorStore
from lookalike.store.accelerator import build_accelerator
from lookalike.store.faiss_indices import can_accelerate
from lookalike.store.lance_rows import paths_of, taken_records


def forget_files(store: VectorStore, paths: Iterable[str]) -> int:
    """Remove paths from their records, and records without a path; return how many were removed."""
    gone = set(paths)
    return _forget(store, gone.__contains__) if gone else 0


def remove_items(store: VectorStore, items: Iterable[str | Path]) -> int:
    """Remove records by id, file or folder; return how many records were removed.

    What is the id of a record is not looked for among the files.
    """
    wanted = [str(item) for item in items]
    ids = [record.id for record in store.records(wanted)]
    tops = [absolute(item) for item in set(wanted).difference(ids)]
    whole = {os.path.normcase(top) for top in tops}
    below = tuple(
        os.path.normcase(top.rstrip("/" + os.sep) + ("/" if is_remote(top) else os.sep)) for top in tops
    )

    def is_wanted(path: str) -> bool:
        name = os.path.normcase(path)
        return name in whole or name.startswith(below)

    return store.remove(ids) + (_forget(store, is_wanted) if tops else 0)


def _forget(store: VectorStore, is_gone: Callable[[str], bool]) -> int:
    """Remove paths from their records, and records without a path; return how many were removed."""
    records, gone = store.records(), dict[int, set[str]]()
    for row, path in paths_of(records):
        if is_gone(path):
            gone.setdefault(row, set()).add(path)
    found = taken_records(records, list(gone))
    edits = {record.id: Edit(gone=lost) for record, lost in zip(found, gone.values(), strict=True)}
    return apply_edits(store, edits).removed


def index_if_large(store: VectorStore, searcher: Searcher) -> None:
    """Build the store's own index of a gallery beyond the memory budget, if no accelerator can be used."""
    if searcher.is_too_large():
        store.index_ids()  # first, as below
        if searcher.accelerator() is None:
            store.build_index()


def build_search_index(store: VectorStore, folder: Path | None, searcher: Searcher, fingerprint: str) -> int:
    """Compact the table and build the accelerator, or else the store's own index.

    An accelerator that can take in the changes since it was built is not built again. ``folder`` is the
    gallery's local folder, or None. Returns the number of vectors indexed. Raises GalleryError for a
    gallery that fits into memory and has no local folder.
    """
    if searcher.is_too_large() and (folder is None or not can_accelerate()):
        store.optimize()
        return store.build_index()
    if folder is None:
        raise GalleryError("the accelerator is stored beside the table; it needs a gallery in a local folder")
    store.optimize()
    if searcher.is_too_large():
        store.index_ids()  # first: it makes a version of the table, and the accelerator is of the last one
    searcher.forget_accelerator()
    if searcher.accelerator() is not None:
        return len(store)
    count = build_accelerator(folder, store.version, fingerprint, store.batches(), store.width)
    searcher.forget_accelerator()
    return count
