"""Adding files to a gallery: stat, hash, decode, embed and commit, once for each distinct content.

An interrupted run is resumed here: what was committed is recognized and not read again.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
import torch

from lookalike.errors import ModelOutputError, UnreadableImageError
from lookalike.gallery.absence import is_gone
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.files import (
    Edit,
    absolute,
    apply_edits,
    field_differences,
    json_values,
    moved_files,
    updated,
)
from lookalike.gallery.packing import pack_shares
from lookalike.images import DecodedFile, Decoders
from lookalike.models.embedder import Embedder
from lookalike.store import Entry, Record, VectorStore, record_id
from lookalike.store.records import damaged_rows
from lookalike.types import Progress, ProgressCallback
from lookalike.types.machine import usable_cores

Metadata = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
_BATCH = 32  # images in one forward pass
_COMMIT_ROWS = 128  # at least, unless a commit is due by time
_COMMIT_PART = 64  # of a gallery's rows in one commit: their number then grows with the logarithm of the rows
_COMMIT_BYTES = 2**26
_COMMIT_SECONDS = 10.0  # the most that a killed process loses
_FEW = 24  # up to this many files are decoded in this process: starting another takes longer


@dataclass(frozen=True)
class AddSettings:
    """Options of ``add_files``."""

    metadata: Metadata | None = None  # of every file, or a function of its path
    keep_shares: bool = False
    folder: str | None = None  # the folder being added, absolute; None for single files
    workers: int | None = None  # decoding processes; None: by the number of files and CPUs
    progress: ProgressCallback | None = None  # called after each file
    since: int | None = None  # nanoseconds since 1970; files whose status changed later are hashed


def add_files(
    paths: Sequence[str], store: VectorStore, embedder: Embedder, settings: AddSettings
) -> AddReport:
    """Add files by absolute path; see ``Gallery.add``. The report's ``vanished`` is left empty."""
    run = _Run(store, embedder, settings)
    to_read = run.files_to_read(paths)
    with Decoders(_n_workers(settings.workers, len(to_read)), embedder.preprocessing) as decoders:
        for path, decoded in _decoded(to_read, decoders, run):
            run.take(path, decoded)
    return run.finish()


def _n_workers(wanted: int | None, n_files: int) -> int:
    if wanted is not None:
        return wanted
    cpus = usable_cores()
    return 0 if n_files <= _FEW else min(cpus, 16)


def _decoded(
    paths: Iterable[str], decoders: Decoders, run: _Run
) -> Iterator[tuple[str, DecodedFile | UnreadableImageError]]:
    """Yield decoded files, read ahead by a bounded number; files of known content are only hashed."""
    waiting: deque[tuple[str, Future[DecodedFile]]] = deque()
    ahead = _BATCH + 4 * decoders.workers if decoders.workers else 1
    remaining = iter(paths)
    exhausted = False
    while waiting or not exhausted:
        while len(waiting) < ahead and not exhausted:
            path = next(remaining, None)
            if path is None:
                exhausted = True
            elif run.has_size_of(path):
                waiting.append((path, decoders.hash(path)))
            else:
                waiting.append((path, decoders.decode(path)))
        if not waiting:
            return
        path, future = waiting.popleft()
        try:
            found = future.result()
        except UnreadableImageError as error:
            yield path, error
            continue
        if found.pixels is None and not run.has_content(found):
            waiting.append((path, decoders.decode(path)))
        else:
            yield path, found


def path_list(source: str | Path | Iterable[str | Path]) -> list[Path]:
    """Return one path or several as a list."""
    return [Path(source)] if isinstance(source, str | Path) else [Path(path) for path in source]


def utf8_paths(files: Iterable[Path]) -> tuple[list[str], list[tuple[str, str]]]:
    """Return distinct absolute paths, and (path, reason) for names that a table can't store."""
    paths: dict[str, None] = {}
    impossible: list[tuple[str, str]] = []
    for file in files:
        path = absolute(file)
        try:
            path.encode()
            paths[path] = None
        except UnicodeEncodeError:
            shown = path.encode(errors="replace").decode()
            impossible.append((shown, "its name is not valid UTF-8; rename it"))
    return list(paths), impossible


@final
class _Run:
    """State of one ``add_files`` call: known content, images to embed, entries and edits to commit."""

    def __init__(self, store: VectorStore, embedder: Embedder, settings: AddSettings) -> None:
        self._store, self._embedder, self._settings = store, embedder, settings
        self._files: dict[str, tuple[str, int, int]] = {}  # path -> id, size, mtime_ns
        self._sizes: set[int] = set()
        self._ids: set[str] = set()
        self._shared: set[str] = set()  # records that have or get several files
        self._before: dict[str, Mapping[str, Any]] = {}  # path of a changed file -> its metadata
        self._asked: frozenset[str] = frozenset()  # the files of this run
        self._moved: dict[str, str] = {}  # present path -> former one
        self._second: dict[str, str] = {}  # path of a file whose content is known from another -> id
        for record in store.records():
            self._ids.add(record.id)
            self._sizes.add(record.size)
            if record.copies:
                self._shared.add(record.id)
            self._files.update({file.path: (record.id, record.size, file.mtime_ns) for file in record.files})
        self._to_embed: list[DecodedFile] = []
        self._entries: list[Entry] = []
        self._edits: defaultdict[str, Edit] = defaultdict(Edit)
        self._added = self._known = self._done = self._total = self._unchanged = 0
        self._unreadable: list[tuple[str, str]] = []
        self._start = self._last_commit = time.monotonic()

    # --- known content ------------------------------------------------------------------------

    def files_to_read(self, paths: Sequence[str]) -> list[str]:
        """The paths that are new, or whose size or modification time has changed."""
        self._asked = frozenset(paths)
        to_read = [path for path in paths if not self._is_unchanged(path)]
        self._total, self._done = len(paths), len(paths) - len(to_read)
        self._known = self._unchanged = self._done
        self._start = time.monotonic()
        changed = {path: self._files[path][0] for path in to_read if path in self._files}
        records = self._store.records(sorted(set(changed.values()))) if changed else ()
        self._before = {
            file.path: file.metadata for record in records for file in record.files if file.path in changed
        }
        self._report()
        return to_read

    def _is_unchanged(self, path: str) -> bool:
        if path not in self._files:
            return False
        id, size, mtime_ns = self._files[path]
        try:
            status = Path(path).stat()
        except OSError:
            return False
        if (status.st_size, status.st_mtime_ns) != (size, mtime_ns):
            return False
        if self._settings.since is not None and status.st_ctime_ns >= self._settings.since:
            return False
        if values := self._metadata(path, is_unmoved=True):
            self._edits[id].metadata[path] = values
        return True

    def has_size_of(self, path: str) -> bool:
        """Whether a known content has the file's size; only then is it hashed before it is decoded."""
        try:
            return Path(path).stat().st_size in self._sizes
        except (OSError, ValueError):
            return False

    def has_content(self, found: DecodedFile) -> bool:
        """Whether this content is in the gallery or in the current batch."""
        return record_id(found.hash) in self._ids

    # --- one file -----------------------------------------------------------------------------

    def take(self, path: str, found: DecodedFile | UnreadableImageError) -> None:
        """Queue a file's content for embedding, add it to a known record, or report it as unreadable."""
        self._done += 1
        if isinstance(found, UnreadableImageError):
            self._unreadable.append((path, str(found).removeprefix(f"{path}: ")))
        elif self.has_content(found):
            self._known += 1
            self._take_known(found)
        else:
            self._ids.add(record_id(found.hash))
            self._sizes.add(found.size)
            self._to_embed.append(found)
        if len(self._to_embed) >= _BATCH:
            self._embed()
        late = time.monotonic() - self._last_commit > _COMMIT_SECONDS
        if self._entries and (late or self._fill_a_commit()):
            self._commit()
        self._report()

    def _fill_a_commit(self) -> bool:
        n = len(self._entries)
        n_bytes = sum(entry.embedding.nbytes + len(entry.shares or b"") for entry in self._entries)
        return n >= max(_COMMIT_ROWS, len(self._ids) // _COMMIT_PART) or n_bytes >= _COMMIT_BYTES

    def _take_known(self, found: DecodedFile) -> None:
        id = record_id(found.hash)
        is_unmoved = self._files.get(found.path, ("",))[0] == id
        if not is_unmoved:
            self._second[found.path] = id
        self._forget_old_content(found)
        self._shared.add(id)
        self._edits[id].found[found.path] = found.mtime_ns
        if found.path in self._before:
            self._edits[id].kept[found.path] = self._before[found.path]
        if values := self._metadata(found.path, is_unmoved=is_unmoved):
            self._edits[id].metadata[found.path] = values

    def _forget_old_content(self, found: DecodedFile) -> None:
        """Remove the path of a changed file from the record of its former content."""
        id = record_id(found.hash)
        old_id = self._files.get(found.path, (id,))[0]
        if old_id != id:
            self._edits[old_id].gone.add(found.path)
        self._files[found.path] = (id, found.size, found.mtime_ns)

    def _metadata(self, path: str, *, is_unmoved: bool = False) -> dict[str, Any]:
        metadata = self._settings.metadata
        if is_unmoved:
            metadata = getattr(metadata, "of_unmoved", metadata)
        return json_values(path, (metadata(Path(path)) if callable(metadata) else metadata) or {})

    # --- model and store ----------------------------------------------------------------------

    def _embed(self) -> None:
        batch, self._to_embed = self._to_embed, []
        if not batch:
            return
        try:
            self._keep(self._entries_of(batch))
        except ModelOutputError as error:
            self._embed_singly(batch, error)

    def _embed_singly(self, batch: Sequence[DecodedFile], error: ModelOutputError) -> None:
        """Embed what can be, and report the others; raise the error where nothing ever could be."""
        bad: list[DecodedFile] = []
        for found in batch:
            try:
                self._keep(self._entries_of([found]))
            except ModelOutputError:
                bad.append(found)
        if not self._entries and not len(self._store):
            raise error
        for found in bad:
            self._ids.discard(record_id(found.hash))
            self._unreadable.append((found.path, str(error).partition(" for ")[0] + " for this picture"))

    def _entries_of(self, batch: Sequence[DecodedFile]) -> list[Entry]:
        if self._settings.keep_shares:
            return [self._entry_with_shares(found) for found in batch]
        pixels, names = [_pixels(found) for found in batch], [found.path for found in batch]
        embeddings = self._embedder.embed_pixels(pixels, names=names).numpy()  # (B, D)
        return [
            Entry(self._record(found), embedding) for found, embedding in zip(batch, embeddings, strict=True)
        ]

    def _keep(self, entries: Sequence[Entry]) -> None:
        """Queue entries for the next commit; report those that the model gives no direction for."""
        bad = set(damaged_rows(np.stack([entry.embedding for entry in entries])))
        for row, entry in enumerate(entries):
            if row not in bad:
                self._entries.append(entry)
                continue
            self._ids.discard(entry.record.id)
            length = float(np.linalg.norm(entry.embedding))
            self._unreadable.append(
                (
                    entry.record.path,
                    f"the model gives an embedding of length {length:g} for it, which points nowhere; "
                    "leave it out, or use another model",
                )
            )

    def _entry_with_shares(self, found: DecodedFile) -> Entry:
        assert found.geometry is not None
        shares = self._embedder.pixel_shares(_pixels(found), found.geometry, name=found.path)
        unit = torch.nn.functional.normalize(shares.total, dim=0).numpy()
        return Entry(self._record(found), unit, pack_shares(shares))

    def _record(self, found: DecodedFile) -> Record:
        before = self._before.get(found.path, {})
        self._forget_old_content(found)  # not before: the file stays in its old record until it is in another
        return Record(
            id=record_id(found.hash),
            path=found.path,
            hash=found.hash,
            size=found.size,
            mtime_ns=found.mtime_ns,
            metadata=updated(before, self._metadata(found.path, is_unmoved=bool(before))),
        )

    def _commit(self) -> None:
        """Store new entries and the edits that go with them at once."""
        self._find_moves()
        self._added += apply_edits(self._store, self._edits, self._entries).added
        self._entries = []
        self._edits = defaultdict(Edit)
        self._last_commit = time.monotonic()

    def _find_moves(self) -> None:
        """Note in the edits which files that were found are moved ones."""
        found = [id for id, edit in self._edits.items() if edit.found]
        new = [entry.record for entry in self._entries if entry.record.id in self._edits]
        for record in (*self._store.records(found), *new) if found else ():
            edit = self._edits[record.id]
            edit.moved = moved_files(record, edit, lambda path: is_gone(path, self._settings.folder))
            self._moved.update(edit.moved)

    def _conflicts(self) -> tuple[str, ...]:
        """Say which files of this run are copies of one picture but have other values."""
        records = self._store.records(sorted(self._shared)) if self._shared else ()
        return tuple(
            words
            for record in records
            if any(file.path in self._asked for file in record.files)
            for words in field_differences(record)
        )

    def _copies(self) -> Iterator[tuple[str, str]]:
        """New files whose content another file has, too, and that file; moved files are none."""
        records = {record.id: record for record in self._store.records(list(set(self._second.values())))}
        for path, id in self._second.items():
            files = [file.path for file in records[id].files] if id in records else []
            if path in files and path not in self._moved:
                yield from ((path, other) for other in [file for file in files if file != path][:1])

    def finish(self) -> AddReport:
        """Embed and commit the remaining files and return the report."""
        self._embed()
        self._commit()
        return AddReport(
            self._added, self._known, tuple(self._unreadable), (),
            moved=tuple((former, path) for path, former in self._moved.items()),
            conflicts=self._conflicts(),
            copies=tuple(self._copies()),
        )  # fmt: skip

    def _report(self) -> None:
        if self._settings.progress is None:
            return
        read = self._done - self._unchanged
        rate = read / max(time.monotonic() - self._start, 1e-6)
        remaining = (self._total - self._done) / rate if read else None
        self._settings.progress(Progress("indexing", self._done, self._total, rate, remaining))


def _pixels(found: DecodedFile) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert found.pixels is not None
    return found.pixels
