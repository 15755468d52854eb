"""Checking a gallery against itself, its files and its model, and repairing what can be without a guess."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from lookalike import images
from lookalike.errors import (
    GalleryError,
    LookalikeError,
    StoreUnreachableError,
    UnreadableImageError,
    first_line,
)
from lookalike.gallery.healing import heal_doubles
from lookalike.models.embedder import Embedder
from lookalike.store import Manifest, Record, VectorStore, record_id
from lookalike.store.accelerator import accelerated_version, load_accelerator, remove_accelerator
from lookalike.store.records import damaged_rows
from lookalike.types import FloatArray
from lookalike.types.html import table_html

_SAMPLE = 16  # images that are embedded again
_SAME = 0.99  # cosine with the stored embedding, of another machine or precision


@dataclass(frozen=True)
class Finding:
    """One kind of fault that a check found."""

    part: str  # rows, files, doubles, norms, fingerprints or accelerator
    problem: str  # in words, with what to do
    n: int  # rows or files concerned
    examples: tuple[str, ...] = ()  # paths or ids, five at most
    is_repaired: bool = False
    is_damage: bool = True  # False: the gallery is right, but its files have changed since


@dataclass(frozen=True)
class CheckReport:
    """What ``Gallery.check`` looked at and found."""

    n_images: int
    n_files: int
    findings: tuple[Finding, ...]

    @property
    def is_sound(self) -> bool:
        """Whether no damage is left."""
        return all(finding.is_repaired or not finding.is_damage for finding in self.findings)

    def _repr_html_(self) -> str:
        """Return a row for each finding, for notebooks."""
        state = "sound" if self.is_sound else "damaged"
        return table_html(
            f"{self.n_images} images in {self.n_files} files: {state}",
            ("part", "problem", "rows or files", "repaired"),
            (
                (each.part, each.problem, each.n, "yes" if each.is_repaired else "no")
                for each in self.findings
            ),
        )


@final
class Checker:
    """Checks one gallery; ``folder`` is its local folder, or None."""

    def __init__(
        self, store: VectorStore, embedder: Embedder, manifest: Manifest, folder: Path | None, repair: bool
    ) -> None:
        self._store, self._embedder, self._manifest = store, embedder, manifest
        self._folder, self._repair = folder, repair

    def __call__(self, *, contents: bool, healed: int) -> CheckReport:
        """Check all parts; ``contents`` hashes every file, ``healed`` were found when it was opened."""
        found: list[Finding] = []
        if healed:
            words = "claimed by two records, left by an interrupted update; given to one on opening"
            found.append(Finding("doubles", words, healed, is_repaired=True))
        try:
            found += self._doubles()
            found += self._norms()
            records = list(self._store.records())
        except (RuntimeError, OSError, ValueError, GalleryError) as error:
            words = f"the table can't be read ({first_line(error)}); index again into a new gallery"
            return CheckReport(0, 0, (*found, Finding("rows", words, 0)))
        found += self._rows(records)
        found += self._files(records, contents)
        found += self._fingerprints(records)
        found += self._accelerator(records)
        return CheckReport(len(records), sum(len(record.files) for record in records), tuple(found))

    def _rows(self, records: Sequence[Record]) -> Iterator[Finding]:
        wrong = [record.id for record in records if record.id != record_id(record.hash)]
        if wrong:
            yield _finding(
                "rows", "their id is not that of their content; remove them and index again", wrong
            )

    def _doubles(self) -> Iterator[Finding]:
        ids = self._store.doubled()
        if ids:
            n = heal_doubles(self._store) if self._repair else len(ids)
            words = "claimed by two records, or stored twice"
            yield Finding("doubles", words, n, tuple(ids[:5]), is_repaired=self._repair)

    def _norms(self) -> Iterator[Finding]:
        bad = [ids[row] for ids, rows in self._store.raw_batches() for row in damaged_rows(rows)]
        if not bad:
            return
        if not self._repair:
            yield _finding("norms", "their embedding is not of length 1, so it is damaged; use --repair", bad)
            return
        lost: list[str] = []
        unreached: list[str] = []
        for record in self._store.records(bad):
            vector = self._embedded_again(record)
            if vector is None and any(_is_unreached(file.path) for file in record.files):
                unreached.append(record.path)
            elif vector is None:
                lost.append(record.path)
                self._store.remove([record.id])
            else:
                self._mend(record, vector)
        if unreached:
            yield _finding("norms", "their embedding is damaged, and the store does not give them", unreached)
        if n := len(bad) - len(lost) - len(unreached):
            yield Finding(
                "norms", "their damaged embedding was made again from the file", n, is_repaired=True
            )
        if lost:
            words = "their embedding was damaged and no file has their content any more; removed"
            yield Finding("norms", words, len(lost), tuple(lost[:5]), is_repaired=True)

    def _embedded_again(self, record: Record) -> np.ndarray | None:
        for file in record.files:
            try:
                if hashlib.sha256(images.file_bytes(file.path)).hexdigest() != record.hash:
                    continue
                vector = self._embedder.embed([file.path])[0].numpy()
            except StoreUnreachableError:
                raise
            except (LookalikeError, OSError):
                continue
            if not damaged_rows(vector[None]):
                return np.asarray(vector, dtype=np.float32)
        return None

    def _files(self, records: Sequence[Record], contents: bool) -> Iterator[Finding]:
        gone: list[str] = []
        changed: list[str] = []
        for record in records:
            for file in record.files:
                try:
                    status = images.status_of(file.path)
                    differs = (status.size, status.mtime_ns) != (record.size, file.mtime_ns)
                    if (differs or contents) and status.size == record.size:
                        data = images.file_bytes(file.path)
                        differs = hashlib.sha256(data).hexdigest() != record.hash
                except StoreUnreachableError:
                    raise
                except (OSError, ValueError, UnreadableImageError):
                    gone.append(file.path)
                    continue
                if differs:
                    changed.append(file.path)
        if gone:
            yield _finding(
                "files", "not found or not readable; index with --prune to forget them", gone, False
            )
        if changed:
            yield _finding(
                "files", "changed since they were indexed; index their folder again", changed, False
            )

    def _fingerprints(self, records: Sequence[Record]) -> Iterator[Finding]:
        if self._embedder.fingerprint() != self._manifest.fingerprint:
            words = "the model is not the one that made the embeddings; open the gallery with its own"
            yield Finding("fingerprints", words, len(records))
            return
        others: list[str] = []
        checked = 0
        for record in random.Random(0).sample(list(records), len(records)):
            if checked == _SAMPLE:
                break
            if (vector := self._embedded_again(record)) is None:
                continue
            checked += 1
            stored = self._stored(record.id)
            if stored is not None and float(vector @ stored) < _SAME:
                others.append(record.path)
                if self._repair:
                    self._mend(record, vector)
        if others:
            words = f"of {checked} images that were embedded again, these have another embedding"
            done = "; they were mended, but others may be like them: index again" if self._repair else ""
            yield _finding("fingerprints", words + done, others)

    def _mend(self, record: Record, vector: FloatArray) -> None:
        self._store.set_embeddings([record.id], vector[None])
        if self._folder is not None:
            remove_accelerator(self._folder)  # it has a copy of the former one

    def _stored(self, id: str) -> FloatArray | None:
        try:
            stored: FloatArray = self._store.embeddings([id])[0]
            return stored
        except LookalikeError:  # damaged: counted by its norm
            return None

    def _accelerator(self, records: Sequence[Record]) -> Iterator[Finding]:
        built = None if self._folder is None else accelerated_version(self._folder)
        if self._folder is None or built is None:
            return
        if built != self._store.version:
            words = "older than the gallery; the next search takes in what changed"
            yield Finding("accelerator", words, 1, is_damage=False)
            return
        index = load_accelerator(self._folder, self._manifest.fingerprint, self._store.width)
        if index is not None and index.holds({record.id for record in records}):
            return
        if self._repair:
            remove_accelerator(self._folder)
        words = "damaged; " + ("removed, rebuild it" if self._repair else "use --repair, and rebuild it")
        yield Finding("accelerator", f"{words} with gallery optimize", 1, is_repaired=self._repair)


def _is_unreached(path: str) -> bool:
    """Whether an object may have the content and only can't be read now."""
    if not images.is_remote(path):
        return False
    try:
        images.file_bytes(path)
    except UnreadableImageError:
        return images.is_there(path)
    return False


def _finding(part: str, problem: str, what: Sequence[str], is_damage: bool = True) -> Finding:
    return Finding(part, problem, len(what), tuple(what[:5]), is_damage=is_damage)
