"""Optional approximate index beside a gallery's table: positions by FAISS, cosines exact.

Beside the index lie the ids and the vectors that it was built from, so that a search asks the table for
nothing but records. Added and removed rows are kept in a small file of changes, which the index takes
in when it is loaded. All of it can be built again from the table, which alone is the truth.
"""

from __future__ import annotations

import json
import shutil
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lookalike.errors import GalleryError, writing
from lookalike.store import faiss_indices
from lookalike.store.faiss_indices import can_accelerate
from lookalike.types import FloatArray

_FOLDER = "accelerator"
_MOST_CHANGES = 0.2  # of the vectors that an index was built from; beyond, it is built anew
_PIECE = 8192  # vectors copied at once


@dataclass(frozen=True)
class _Stamp:
    """What is in effect: written last, read first."""

    version: int  # of the table
    folder: str
    count: int  # of the folder's vectors
    fingerprint: str  # of the model
    built: int  # vectors that the index was built from
    changes: str | None = None  # a file of the folder


@final
class Accelerator:
    """A loaded index, in which threads take turns: positions of its vectors, then of those added since."""

    def __init__(
        self, stamp: _Stamp, index: Any, ids: pa.Array, vectors: FloatArray, changes: _Changes | None = None
    ) -> None:
        self._turn = threading.RLock()  # FAISS searches and adds, but not at once
        self._stamp, self._index, self._base = stamp, index, vectors
        self._first_ids = ids
        self._changes = _Changes.none(vectors.shape[1]) if changes is None else changes
        self._take_in(self._changes.vectors)

    @property
    def version(self) -> int:
        """The table's version that it is of."""
        return self._stamp.version

    @property
    def folder(self) -> str:
        """The name of the folder that it was loaded from."""
        return self._stamp.folder

    def holds(self, ids: Set[str]) -> bool:
        """Whether exactly these ids are found."""
        return set(self._ids.filter(pa.array(self._is_kept())).to_pylist()) == ids

    def nearest(self, query: FloatArray, n: int) -> tuple[np.ndarray[Any, Any], FloatArray]:
        """Return approximately the n positions nearest to a unit vector (D,) float32, and their vectors.

        In the order of the index; cosines with the vectors are exact.
        """
        with self._turn:
            n = min(n, len(self._ids))
            positions = faiss_indices.nearest_positions(self._index, query, n, self._among)
            return positions, self._vectors(positions)

    def nearest_named(self, query: FloatArray, n: int) -> tuple[list[str], FloatArray]:
        """Return the ids of the n nearest vectors as ``nearest``, best first, and the vectors (n, D)."""
        with self._turn:
            positions, vectors = self.nearest(query, n)
            order = np.argsort(-(vectors @ query), kind="stable")
            ids: list[str] = self._ids.take(pa.array(positions[order])).to_pylist()
        return ids, vectors[order]

    def nearest_ids(self, query: FloatArray, n: int) -> list[str]:
        """Return the ids alone of ``nearest_named``."""
        return self.nearest_named(query, n)[0]

    def rows_in(self, ids: pa.Array | Sequence[str]) -> np.ndarray[Any, Any]:
        """Return the row of each position in a table with these ids; -1 for none."""
        table = ids if isinstance(ids, pa.Array) else pa.array(ids, pa.string())
        rows = pc.fill_null(pc.index_in(self._ids, value_set=table), -1)
        return np.asarray(rows.to_numpy(zero_copy_only=False), dtype=np.int64)

    def bring_to(self, version: int, ids: pa.Array, embeddings: Callable[[list[str]], FloatArray]) -> bool:
        """Take in what a later version of the table added and lost; whether that was possible.

        ``ids`` are all of that version, ``embeddings`` gives vectors (B, D) of some of them. False, and
        nothing is changed, if more than a fifth has changed.
        """
        rows = self.rows_in(ids)
        is_known = np.zeros(len(ids), dtype=bool)
        is_known[rows[rows >= 0]] = True
        added = ids.filter(pa.array(~is_known)).to_pylist()
        gone = np.flatnonzero(rows < 0)
        n_since = len(self._ids) + len(added) - self._stamp.built
        if n_since + len(gone) > _MOST_CHANGES * self._stamp.built:
            return False
        pieces = [embeddings(added[i : i + _PIECE]) for i in range(0, len(added), _PIECE)]
        new = np.concatenate([np.empty((0, self._base.shape[1]), np.float32), *pieces])
        with self._turn:
            vectors = np.concatenate([self._changes.vectors, new])
            self._changes = _Changes(gone, [*self._changes.ids, *added], vectors)
            self._stamp = replace(self._stamp, version=version)
            self._take_in(new)
        return True

    def save(self, gallery: Path) -> None:
        """Put the changes into effect for others: in a file of changes, or in a new folder if they are many.

        Raises GalleryError if the files can't be written; what was in effect then stays.
        """
        if len(self._changes.ids) > _most_in_file(self._index):
            self._fold(gallery)
        folder = gallery / _FOLDER / self._stamp.folder
        name = f"changes-{uuid.uuid4().hex[:8]}.npz"
        with writing(folder, GalleryError):
            self._changes.write(folder / name)
            self._stamp = _put_into_effect(gallery, replace(self._stamp, changes=name))
        _remove_others(gallery / _FOLDER)

    def _fold(self, gallery: Path) -> None:
        """Write all vectors to a new folder, whose index was built from fewer."""
        new = f"{self._stamp.version}-{uuid.uuid4().hex[:8]}"
        folder = gallery / _FOLDER / new
        with writing(folder, GalleryError):
            folder.mkdir()
            starts = range(0, len(self._base), _PIECE)
            old = (self._base[start : start + _PIECE] for start in starts)
            _write_vectors(folder, old, [self._changes.vectors])
            _write_index(folder, self._index, _packed(self._ids))
        with self._turn:
            self._base, self._first_ids = _mapped(folder, self._base.shape[1]), self._ids
            self._changes = replace(_Changes.none(self._base.shape[1]), gone=self._changes.gone)
        self._stamp = replace(self._stamp, folder=new, count=len(self._ids), changes=None)

    def _take_in(self, added: FloatArray) -> None:
        if len(added):
            faiss_indices.extend_index(self._index, added)
        self._ids = pa.concat_arrays([self._first_ids, pa.array(self._changes.ids, pa.string())])
        self._among = faiss_indices.selector(self._is_kept()) if len(self._changes.gone) else None

    def _is_kept(self) -> np.ndarray[Any, Any]:
        kept = np.ones(len(self._ids), dtype=bool)
        kept[self._changes.gone] = False
        return kept

    def _vectors(self, positions: np.ndarray[Any, Any]) -> FloatArray:
        n = len(self._base)
        if not len(positions) or positions.max() < n:
            return np.asarray(self._base[positions])
        is_old = positions < n
        found = np.empty((len(positions), self._base.shape[1]), np.float32)
        found[is_old], found[~is_old] = (
            self._base[positions[is_old]],
            self._changes.vectors[positions[~is_old] - n],
        )
        return found


@dataclass(frozen=True)
class _Changes:
    """What a table added and lost since an index was built."""

    gone: np.ndarray[Any, Any]  # positions
    ids: list[str]  # added
    vectors: FloatArray  # of these, (B, D)

    @staticmethod
    def none(width: int) -> _Changes:
        return _Changes(np.empty(0, np.int64), [], np.empty((0, width), np.float32))

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, gone=self.gone, ids=np.array(self.ids, dtype=np.bytes_), vectors=self.vectors)

    @staticmethod
    def read(path: Path, width: int) -> _Changes:
        with np.load(path, allow_pickle=False) as arrays:
            gone, ids, vectors = arrays["gone"], arrays["ids"], arrays["vectors"]
        return _Changes(
            gone.astype(np.int64),
            [id.decode() for id in ids],
            vectors.astype(np.float32).reshape(len(ids), width),
        )


def build_accelerator(
    gallery: Path,
    version: int,
    fingerprint: str,
    batches: Iterable[tuple[list[str], FloatArray]],
    width: int,
) -> int:
    """Index the vectors of one version of a table, write the files, and return the number of vectors.

    ``batches`` yields ids and embeddings (B, D) float32. If the process is killed, the previous index
    stays in place. Raises GalleryError without the extra ``scale``, and if the files can't be written.
    """
    folder = gallery / _FOLDER
    new = f"{version}-{uuid.uuid4().hex[:8]}"
    names: list[np.ndarray[Any, Any]] = []
    try:
        with writing(folder, GalleryError):
            (folder / new).mkdir(parents=True)
            _write_vectors(folder / new, _vectors_of(batches, names))
            ids = np.concatenate(names or [np.empty(0, np.bytes_)])
            index = faiss_indices.built_index(_mapped(folder / new, width))
            _write_index(folder / new, index, ids)
            _put_into_effect(gallery, _Stamp(version, new, len(ids), fingerprint, len(ids)))
    finally:
        _remove_others(folder)
    return len(ids)


def remove_accelerator(gallery: Path) -> None:
    """Remove the index, which can be built again."""
    shutil.rmtree(gallery / _FOLDER, ignore_errors=True)


def accelerated_version(gallery: Path) -> int | None:
    """Return the version of the table that the index is of; None if there is no index."""
    stamp = _stamp(gallery)
    return None if stamp is None else stamp.version


def accelerator_folder(gallery: Path) -> str | None:
    """Return the name of the folder in effect, another one for each that was built; None without one."""
    stamp = _stamp(gallery)
    return None if stamp is None else stamp.folder


def load_accelerator(gallery: Path, fingerprint: str, width: int) -> Accelerator | None:
    """Load the index of this model's vectors, of whatever version; None if there is none."""
    stamp = _stamp(gallery)
    if stamp is None or stamp.fingerprint != fingerprint or not can_accelerate():
        return None
    folder = gallery / _FOLDER / stamp.folder
    try:
        ids = _unpacked(np.load(folder / "ids.npy", allow_pickle=False))
        index = faiss_indices.read_index(folder / "index.faiss")
        vectors = _mapped(folder, width)
        changes = None if stamp.changes is None else _Changes.read(folder / stamp.changes, width)
    except (OSError, EOFError, ValueError, RuntimeError, KeyError, AttributeError):
        return None  # being replaced, or damaged: search without it
    is_whole = index.ntotal == len(ids) == len(vectors) == stamp.count and index.d == width
    return Accelerator(stamp, index, ids, vectors, changes) if is_whole else None


def _most_in_file(index: Any) -> int:
    """How many vectors a file of changes may have, which are added to the index whenever it is loaded."""
    if faiss_indices.is_graph(index):  # it takes a hundred times as long to add one
        return 1024
    return 16_384


def _vectors_of(
    batches: Iterable[tuple[list[str], FloatArray]], names: list[np.ndarray[Any, Any]]
) -> Iterator[FloatArray]:
    for ids, vectors in batches:
        names.append(np.array(ids, dtype=np.bytes_))  # of the caller
        yield vectors


def _packed(ids: pa.Array) -> np.ndarray[Any, Any]:
    """Ids as bytes, some at a time, for as Python's texts they take four times as much."""
    parts = [
        np.array(ids[start : start + _PIECE].to_pylist(), dtype=np.bytes_)
        for start in range(0, len(ids), _PIECE)
    ]
    return np.concatenate(parts or [np.empty(0, np.bytes_)])


def _write_vectors(folder: Path, *pieces: Iterable[FloatArray]) -> None:
    with (folder / "vectors.f32").open("wb") as file:
        for piece in chain(*pieces):
            file.write(np.ascontiguousarray(piece, dtype="<f4").tobytes())


def _unpacked(ids: np.ndarray[Any, Any]) -> pa.Array:
    """Ids from bytes; raises ValueError for what is no text."""
    texts = pa.array(ids, pa.binary()).cast(pa.string())
    return texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts  # many come in chunks


def _write_index(folder: Path, index: Any, ids: np.ndarray[Any, Any]) -> None:
    faiss_indices.write_index(index, folder / "index.faiss")
    np.save(folder / "ids.npy", ids)


def _mapped(folder: Path, width: int) -> FloatArray:
    """The vectors (G, D) of a folder, which the system reads where they are asked for."""
    return np.memmap(folder / "vectors.f32", dtype="<f4", mode="r").reshape(-1, width)


def _put_into_effect(gallery: Path, stamp: _Stamp) -> _Stamp:
    written = gallery / _FOLDER / f"{stamp.folder}.json"
    written.write_text(json.dumps(vars(stamp)))
    written.replace(gallery / _FOLDER / "stamp.json")
    return stamp


def _remove_others(folder: Path) -> None:
    """Remove all indices but the one in effect, those that were not finished included."""
    stamp = _stamp(folder.parent)
    kept = {"stamp.json", "" if stamp is None else stamp.folder}
    if stamp is not None:
        for changes in (folder / stamp.folder).glob("changes-*"):
            if changes.name != stamp.changes:
                with suppress(OSError):
                    changes.unlink()
    for other in folder.iterdir() if folder.is_dir() else ():
        if other.name in kept:
            continue
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
            continue
        with suppress(OSError):
            other.unlink()


def _stamp(gallery: Path) -> _Stamp | None:
    try:
        values = json.loads((gallery / _FOLDER / "stamp.json").read_text())
        stamp = _Stamp(**values)
    except (OSError, ValueError, TypeError):
        return None  # none, or of an earlier version's layout
    texts = (stamp.folder, stamp.fingerprint, stamp.changes or "")
    is_ours = isinstance(stamp.version, int) and all(isinstance(text, str) for text in texts)
    return stamp if is_ours else None
