"""One run of adding files: what is known, what is to be embedded, and the commits, in order."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from lookalike.errors import ModelOutputError, UnreadableImageError
from lookalike.gallery.absence import is_gone
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.embedding import EmbeddedFile, ModelThreads, NotEmbedded
from lookalike.gallery.files import (
    Edit,
    absent_namesakes,
    apply_edits,
    field_differences,
    json_values,
    moved_files,
    updated,
)
from lookalike.gallery.known import KnownContent
from lookalike.images import DecodedFile, FoundFile, is_there, status_of
from lookalike.models.embedder import Embedder
from lookalike.models.runtimes import CheckedRuntime
from lookalike.store import Entry, Record, VectorStore, record_id
from lookalike.store.records import damaged_rows
from lookalike.types import Progress, ProgressCallback
from lookalike.types.packed_texts import PackedTexts

Metadata = Mapping[str, Any] | Callable[[Path], Mapping[str, Any]]
BATCH = 32  # images that are given to the model at once
_COMMIT_ROWS = 128  # at least, unless a commit is due by time
_COMMIT_PART = 64  # of a gallery's rows in one commit: their number then grows with the logarithm of the rows
_MOST_COMMIT_ROWS = 4096  # and its memory does not grow with the gallery
_COMMIT_BYTES = 2**26
_COMMIT_SECONDS = 10.0  # the most that a killed process loses


@dataclass(frozen=True)
class AddSettings:
    """Options of ``add_files``."""

    metadata: Metadata | None = None  # of every file, or a function of its path
    keep_shares: bool = False
    folder: str | None = None  # the folder being added, absolute; None for single files
    workers: int | None = None  # decoding processes; None: by the number of files and CPUs
    progress: ProgressCallback | None = None  # called after each file
    runtime: CheckedRuntime | None = None  # what embeds; None: the embedder
    found: Mapping[str, FoundFile] = field(default_factory=dict)  # files whose size and time are known
    since: int | None = None  # nanoseconds since 1970; files whose status changed later are hashed


@final
class AddRun:
    """State of one ``add_files`` call: known content, images to embed, entries and edits to commit."""

    def __init__(self, store: VectorStore, embedder: Embedder, settings: AddSettings) -> None:
        self._store, self._settings = store, settings
        self.batch = BATCH  # images that are given to the model at once; the caller may set more
        self.known_content = KnownContent(store)
        self._shared = self.known_content.shared  # records that have or get several files
        self._before: dict[str, Mapping[str, Any]] = {}  # path of a changed file -> its metadata
        self._asked: Sequence[str] = ()  # the files of this run
        self._moved: dict[str, str] = {}  # present path -> former one
        self._second: dict[str, str] = {}  # path of a file whose content is known from another -> id
        self._to_embed: list[DecodedFile] = []
        self._model = ModelThreads(embedder, keep_shares=settings.keep_shares, runtime=settings.runtime)
        self._entries: list[Entry] = []
        self._entry_bytes = 0  # of their embeddings and shares
        self._edits: defaultdict[str, Edit] = defaultdict(Edit)
        self._added = self._known = self._done = self._total = self._unchanged = 0
        self._unreadable: list[tuple[str, str]] = []
        self._start = self._last_commit = time.monotonic()

    @property
    def is_committed(self) -> bool:
        """Whether everything that was taken is in the store."""
        return not (self._to_embed or self._model.files or self._entries or self._edits)

    # --- known content ------------------------------------------------------------------------

    def files_to_read(self, paths: Sequence[str]) -> Sequence[str]:
        """The paths that are new, or whose size or modification time has changed."""
        self._asked = paths
        to_read = PackedTexts(path for path in paths if not self._is_unchanged(path))
        self._total, self._done = len(paths), len(paths) - len(to_read)
        self._known = self._unchanged = self._done
        self._start = time.monotonic()
        known = ((path, self.known_content.file(path)) for path in to_read)
        changed = {path: file.id for path, file in known if file is not None}
        records = self._store.records(sorted(set(changed.values()))) if changed else ()
        self._before = {
            file.path: file.metadata for record in records for file in record.files if file.path in changed
        }
        self._report()
        return to_read

    def _is_unchanged(self, path: str) -> bool:
        if (file := self.known_content.file(path)) is None:
            return False
        now = self._status(path)
        if now is None or (now.size, now.mtime_ns) != (file.size, file.mtime_ns):
            return False
        if self._settings.since is not None and _changed_ns(path) >= self._settings.since:
            return False
        if values := self._metadata(path, is_unmoved=True):
            self._edits[file.id].metadata[path] = values
        return True

    def has_size_of(self, path: str) -> bool:
        """Whether a known content has the file's size; only then is it hashed before it is decoded."""
        size = self.size_of(path)
        return size is not None and size in self.known_content.sizes

    def size_of(self, path: str) -> int | None:
        """The bytes of a file; None where that can't be told."""
        found = self._status(path)
        return None if found is None else found.size

    def listed(self, path: str) -> str | FoundFile:
        """A file as the list has it: with size and time, where it knows them."""
        return self._settings.found.get(path, path)

    def is_as_it_was(self, read: DecodedFile) -> bool:
        """Whether a file has the size and time that it had when it was read."""
        now = self._status(read.path)
        return now is not None and (now.size, now.mtime_ns) == (read.size, read.mtime_ns)

    def _status(self, path: str) -> FoundFile | None:
        try:
            return self._settings.found.get(path) or status_of(path)
        except (OSError, ValueError, UnreadableImageError):
            return None

    def has_content(self, found: DecodedFile) -> bool:
        """Whether this content is in the gallery or in the current batch."""
        return record_id(found.hash) in self.known_content.ids

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
            self._note_content(found)
            self._to_embed.append(found)
        if len(self._to_embed) >= self.batch:
            self._embed()
        self._commit_if_due()
        self._report()

    def take_embedded(self, results: Sequence[EmbeddedFile | NotEmbedded]) -> None:
        """Add files that were embedded elsewhere; those of known content only to its record."""
        new: list[EmbeddedFile | NotEmbedded] = []
        for result in results:
            if self.has_content(result.file):
                self.take(result.file.path, result.file)
                continue
            self._done += 1
            self._note_content(result.file)
            new.append(result)
        self._keep(new)
        self._commit_if_due()
        self._report()

    def _note_content(self, found: DecodedFile) -> None:
        self.known_content.ids.add(record_id(found.hash))
        self.known_content.sizes.add(found.size)

    def _commit_if_due(self) -> None:
        late = time.monotonic() - self._last_commit > _COMMIT_SECONDS
        if self._entries and (late or self._fill_a_commit()):
            self._commit()

    def _fill_a_commit(self) -> bool:
        rows = min(max(_COMMIT_ROWS, len(self.known_content.ids) // _COMMIT_PART), _MOST_COMMIT_ROWS)
        return len(self._entries) >= rows or self._entry_bytes >= _COMMIT_BYTES

    def _take_known(self, found: DecodedFile) -> None:
        id = record_id(found.hash)
        before = self.known_content.file(found.path)
        is_unmoved = before is not None and before.id == id
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
        before = self.known_content.file(found.path)
        if before is not None and before.id != record_id(found.hash):
            self._edits[before.id].gone.add(found.path)

    def _metadata(self, path: str, *, is_unmoved: bool = False) -> dict[str, Any]:
        metadata = self._settings.metadata
        if is_unmoved:
            metadata = getattr(metadata, "of_unmoved", metadata)
        return json_values(path, (metadata(Path(path)) if callable(metadata) else metadata) or {})

    # --- model and store ----------------------------------------------------------------------

    def _embed(self) -> None:
        """Give the queued files to the model, and take what it made of those before."""
        batch, self._to_embed = self._to_embed, []
        self._keep(self._model.embed(batch))

    def _keep(self, results: Sequence[EmbeddedFile | NotEmbedded]) -> None:
        """Queue what was embedded for the next commit, and report the rest.

        Raises ModelOutputError where nothing ever could be embedded.
        """
        embedded = [result for result in results if isinstance(result, EmbeddedFile)]
        failed = [result for result in results if isinstance(result, NotEmbedded)]
        bad = set(damaged_rows(np.stack([each.embedding for each in embedded]))) if embedded else set()
        for row, each in enumerate(embedded):
            entry = Entry(self._record(each.file), each.embedding, each.shares)
            if row not in bad:
                self._entries.append(entry)
                self._entry_bytes += entry.embedding.nbytes + len(entry.shares or b"")
                continue
            length = float(np.linalg.norm(each.embedding))
            self._reject(
                each.file,
                f"the model gives an embedding of length {length:g} for it, which points nowhere; "
                "leave it out, or use another model",
            )
        if failed and not self._entries and not len(self._store):
            raise ModelOutputError(failed[0].reason)
        for without in failed:
            self._reject(without.file, without.reason.partition(" for ")[0] + " for this picture")

    def _reject(self, found: DecodedFile, reason: str) -> None:
        self.known_content.ids.discard(record_id(found.hash))
        self._unreadable.append((found.path, reason))

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

    def commit(self) -> None:
        """Embed and store all that was taken."""
        while self._to_embed or self._model.files:
            self._embed()
            self._commit_if_due()
        self._commit()

    def _embed_all(self) -> None:
        while self._to_embed or self._model.files:
            self._embed()

    def _commit(self) -> None:
        """Store new entries and the edits that go with them at once."""
        if any(record_id(found.hash) in self._edits for found in (*self._model.files, *self._to_embed)):
            self._embed_all()  # copies of a picture that is not yet embedded are stored with it
        self._find_moves()
        self._added += apply_edits(self._store, self._edits, self._entries).added
        self._entries, self._entry_bytes = [], 0
        self._edits = defaultdict(Edit)
        self._last_commit = time.monotonic()

    def _find_moves(self) -> None:
        """Note in the edits which files that were found are moved ones."""
        found = [id for id, edit in self._edits.items() if edit.found]
        new = [entry.record for entry in self._entries if entry.record.id in self._edits]
        for record in (*self._store.records(found), *new) if found else ():
            edit = self._edits[record.id]
            edit.moved = moved_files(record, edit, lambda path: is_gone(path, self._settings.folder))
            edit.absent = absent_namesakes(record, edit, is_there)
            self._moved.update(edit.moved)

    def _conflicts(self) -> tuple[str, ...]:
        """Say which files of this run are copies of one picture but have other values."""
        records = self._store.records(sorted(self._shared)) if self._shared else ()
        asked = {file.path for record in records for file in record.files}.intersection(self._asked)
        return tuple(
            words
            for record in records
            if any(file.path in asked for file in record.files)
            for words in field_differences(record)
        )

    def _copies(self) -> Iterator[tuple[str, str]]:
        """New files whose content another file has, too, and that file; moved files are none."""
        records = {record.id: record for record in self._store.records(list(set(self._second.values())))}
        for path, id in self._second.items():
            files = [file.path for file in records[id].files] if id in records else []
            if path in files and path not in self._moved:
                yield from ((path, other) for other in [file for file in files if file != path][:1])

    def save(self) -> None:
        """Commit what is embedded, where the rest can't be: the next run goes on from there."""
        waiting = {record_id(found.hash) for found in (*self._model.files, *self._to_embed)}
        self._model.forget()
        self._to_embed = []
        for id in waiting & self._edits.keys():  # copies of what is not there: they stay where they were
            for path in self._edits.pop(id).found:
                for edit in self._edits.values():
                    edit.gone.discard(path)
        self._commit()

    def finish(self) -> AddReport:
        """Embed and commit the remaining files and return the report."""
        self.commit()
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


def _changed_ns(path: str) -> int:
    try:
        return Path(path).stat().st_ctime_ns
    except OSError:
        return time.time_ns()
