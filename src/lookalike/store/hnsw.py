"""Optional approximate index beside a gallery's table: FAISS HNSW over 8-bit vectors.

The index records the version of the table that it was built from and is ignored for any other; its
candidates are re-scored with the exact vectors. The only importer of faiss (the extra ``scale``).
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Set
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import numpy as np

from lookalike.errors import GalleryError, writing
from lookalike.types import FloatArray

_FOLDER = "accelerator"
_LINKS = 32  # neighbors of a node; memory is about D + 8 * _LINKS bytes per vector
_BUILD_WIDTH = 200  # candidates considered for each new node
_SEARCH_WIDTH = 256  # least number of candidates considered in a search
_TRAIN = 100_000  # vectors that the 8-bit ranges are fitted to


@final
class Accelerator:
    """A loaded index of one version of a table."""

    def __init__(self, index: Any, ids: np.ndarray[Any, np.dtype[np.bytes_]]) -> None:
        self._index, self._ids = index, ids

    def holds(self, ids: Set[str]) -> bool:
        """Whether the index has exactly these ids."""
        return {id.decode() for id in self._ids} == ids

    def nearest_ids(self, query: FloatArray, n: int) -> list[str]:
        """Return approximately the n nearest ids of a unit vector (D,) float32, best first."""
        n = min(n, len(self._ids))
        self._index.hnsw.efSearch = max(_SEARCH_WIDTH, 2 * n)
        _, rows = self._index.search(np.ascontiguousarray(query[None], dtype=np.float32), n)
        return [id.decode() for id in self._ids[rows[0][rows[0] >= 0]]]


def remove_accelerator(gallery: Path) -> None:
    """Remove the index, which can be built again."""
    shutil.rmtree(gallery / _FOLDER, ignore_errors=True)


def build_accelerator(
    gallery: Path, version: int, batches: Iterator[tuple[list[str], FloatArray]], width: int
) -> int:
    """Index the vectors of one version of a table, write the files, and return the number of vectors.

    ``batches`` yields ids and embeddings (B, D) float32. If the process is killed, the previous index
    stays in place. Raises GalleryError without the extra ``scale``, and if the files can't be written.
    """
    faiss = _faiss()
    index = faiss.IndexHNSWSQ(width, faiss.ScalarQuantizer.QT_8bit, _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BUILD_WIDTH
    ids: list[str] = []
    waiting: list[FloatArray] = []
    for names, vectors in batches:
        ids += names
        waiting.append(vectors)
        if (not index.is_trained and len(ids) >= _TRAIN) or index.is_trained:
            waiting = _add(index, waiting)
    _add(index, waiting)
    folder = gallery / _FOLDER
    new = f"{version}-{uuid.uuid4().hex[:8]}"
    try:
        with writing(folder, GalleryError):
            (folder / new).mkdir(parents=True)
            _write_index(index, folder / new / "index.faiss")
            np.save(folder / new / "ids.npy", np.array(ids, dtype=np.bytes_))
            stamp = folder / f"{new}.json"
            stamp.write_text(json.dumps({"version": version, "folder": new, "count": len(ids)}))
            stamp.replace(folder / "stamp.json")  # puts the new index into effect
    finally:
        _remove_others(folder)
    return len(ids)


def _write_index(index: Any, path: Path) -> None:
    try:
        _faiss().write_index(index, str(path))
    except RuntimeError as error:  # of faiss, which quotes the system's in words
        code = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def _remove_others(folder: Path) -> None:
    """Remove all indices but the one in effect, those that were not finished included."""
    stamp = _stamp(folder.parent)
    kept = {"stamp.json", "" if stamp is None else str(stamp["folder"])}
    for other in folder.iterdir() if folder.is_dir() else ():
        if other.name in kept:
            continue
        if other.is_dir():
            shutil.rmtree(other, ignore_errors=True)
            continue
        with suppress(OSError):
            other.unlink()


def can_accelerate() -> bool:
    """Whether the extra ``scale`` is installed."""
    return importlib.util.find_spec("faiss") is not None


def accelerated_version(gallery: Path) -> int | None:
    """Return the version of the table that the index was built from; None if there is no index."""
    stamp = _stamp(gallery)
    return None if stamp is None else int(stamp["version"])


def load_accelerator(gallery: Path, version: int) -> Accelerator | None:
    """Load the index for this version of the table; None if there is no index for it."""
    stamp = _stamp(gallery)
    if stamp is None or stamp["version"] != version or not can_accelerate():
        return None
    folder = gallery / _FOLDER / str(stamp["folder"])
    try:
        ids = np.load(folder / "ids.npy", allow_pickle=False)
        index = _faiss().read_index(str(folder / "index.faiss"))
    except (OSError, EOFError, ValueError, RuntimeError):
        return None  # being replaced, or damaged: search without it
    return Accelerator(index, ids) if index.ntotal == len(ids) == stamp["count"] else None


def _add(index: Any, waiting: list[FloatArray]) -> list[FloatArray]:
    if waiting:
        vectors = np.concatenate(waiting)
        if not index.is_trained:
            index.train(vectors)
        index.add(vectors)
    return []


def _stamp(gallery: Path) -> dict[str, Any] | None:
    try:
        stamp: dict[str, Any] = json.loads((gallery / _FOLDER / "stamp.json").read_text())
    except (OSError, ValueError):
        return None
    is_ours = isinstance(stamp, dict) and {"version", "folder", "count"} <= set(stamp)
    return stamp if is_ours and isinstance(stamp["version"], int) else None


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise GalleryError("the accelerator needs faiss: pip install 'lookalike[scale]'") from error
