"""FAISS indices over 8-bit vectors: which one for how many vectors, trained and filled on all cores.

The only importer of faiss (the extra ``scale``). Up to 200,000 vectors a graph (HNSW, Malkov and Yashunin,
TPAMI 2020) is built within minutes and searched fastest; beyond, inverted lists (IVF, Jégou, Douze and
Schmid, TPAMI 2011) are built in a tenth of its time.
"""

from __future__ import annotations

import errno
import importlib
import importlib.util
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.errors import GalleryError
from lookalike.types import FloatArray

MOST_IN_GRAPH = 200_000
_LINKS = 32  # neighbors of a node; memory is about D + 8 * _LINKS bytes per vector
_BUILD_WIDTH = 200  # candidates considered for each new node
_SEARCH_WIDTH = 256  # least number of candidates considered in a search of a graph
_LISTS = 4  # times the root of the number of vectors
_TRAIN_PER_LIST, _ROUNDS = 64, 10  # vectors per list and rounds of k-means
_RANGES = 100_000  # vectors that a graph's 8-bit ranges are fitted to
_BLOCK = 65_536  # vectors added at once
_NEIGHBORS, _RECALL, _SAMPLES = 100, 0.99, 64  # lists are searched until so many samples find their nearest
_FEWEST_PROBES = 4


def can_accelerate() -> bool:
    """Whether the extra ``scale`` is installed."""
    return importlib.util.find_spec("faiss") is not None


def built_index(vectors: FloatArray) -> Any:
    """Return an index over unit vectors (G, D) float32, which may be a mapped file."""
    n, width = vectors.shape
    draw = np.random.default_rng(0)
    with _all_cores():
        faiss = _faiss()
        kind, metric = faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT
        if n <= MOST_IN_GRAPH:
            index = faiss.IndexHNSWSQ(width, kind, _LINKS, metric)
            index.hnsw.efConstruction = _BUILD_WIDTH
            index.train(_some(vectors, _RANGES, draw))
        else:
            n_lists = int(_LISTS * n**0.5)
            index = faiss.IndexIVFScalarQuantizer(faiss.IndexFlatIP(width), width, n_lists, kind, metric)
            index.cp.niter, index.cp.spherical = _ROUNDS, True
            index.train(_some(vectors, _TRAIN_PER_LIST * n_lists, draw))
        for start in range(0, n, _BLOCK):
            index.add(np.ascontiguousarray(vectors[start : start + _BLOCK]))
        if n > MOST_IN_GRAPH:
            index.nprobe = _probes(index, vectors, draw)
    return index


def is_graph(index: Any) -> bool:
    """Whether an index is a graph, which takes long to add to."""
    return isinstance(index, _faiss().IndexHNSW)


def extend_index(index: Any, vectors: FloatArray) -> None:
    """Add vectors (B, D) float32 to a built index; they get the next positions."""
    with _all_cores():
        index.add(np.ascontiguousarray(vectors))


def nearest_positions(index: Any, query: FloatArray, n: int, among: Any) -> np.ndarray[Any, Any]:
    """Return approximately the n positions nearest to a unit vector (D,), best first.

    ``among`` comes from ``selector``; None: all positions.
    """
    faiss = _faiss()
    if is_graph(index):
        settings = faiss.SearchParametersHNSW(efSearch=max(_SEARCH_WIDTH, 2 * n), sel=among)
    else:
        settings = faiss.SearchParametersIVF(nprobe=index.nprobe, sel=among)
    # faiss.contrib.torch_utils, which other libraries import, puts a search without settings in its place
    search = getattr(index, "search_numpy", index.search)
    _, positions = search(np.ascontiguousarray(query[None], dtype=np.float32), n, params=settings)
    return np.asarray(positions[0][positions[0] >= 0])


def selector(is_kept: np.ndarray[Any, Any]) -> Any:
    """Return what restricts a search to the positions of a boolean mask (G,)."""
    bits = np.packbits(is_kept, bitorder="little")
    return _faiss().IDSelectorBitmap(bits)


def write_index(index: Any, path: Path) -> None:
    """Write an index to a file. Raises OSError."""
    try:
        _faiss().write_index(index, str(path))
    except RuntimeError as error:  # of faiss, which quotes the system's in words
        code = errno.ENOSPC if os.strerror(errno.ENOSPC) in str(error) else errno.EIO
        raise OSError(code, os.strerror(code), str(path)) from error


def read_index(path: Path) -> Any:
    """Read an index. Raises OSError, RuntimeError or ValueError for a damaged file."""
    return _faiss().read_index(str(path))


def _some(vectors: FloatArray, n: int, draw: np.random.Generator) -> FloatArray:
    """At most n of the vectors, from everywhere: those of a folder lie together."""
    if len(vectors) <= n:
        return np.ascontiguousarray(vectors)
    return np.ascontiguousarray(vectors[np.sort(draw.choice(len(vectors), n, replace=False))])


def _probes(index: Any, vectors: FloatArray, draw: np.random.Generator) -> int:
    """The number of lists to search, a power of two, so that samples find 99 % of their 100 nearest."""
    samples = _some(vectors, _SAMPLES, draw)
    nearest = [set(row) for row in _exact(vectors, samples)]
    n_probes = _FEWEST_PROBES
    while n_probes < index.nlist:
        index.nprobe = n_probes
        _, found = index.search(samples, 2 * _NEIGHBORS)
        hits = [len(true.intersection(row)) for true, row in zip(nearest, found.tolist(), strict=True)]
        if sum(hits) >= _RECALL * _NEIGHBORS * len(samples):
            break
        n_probes *= 2
    return min(n_probes, int(index.nlist))


def _exact(vectors: FloatArray, samples: FloatArray) -> list[list[int]]:
    """The positions of the nearest vectors of each sample (S, D)."""
    heap = _faiss().ResultHeap(len(samples), _NEIGHBORS, keep_max=True)
    for start in range(0, len(vectors), _BLOCK):
        block = np.ascontiguousarray(vectors[start : start + _BLOCK])
        cosines, rows = _faiss().knn(samples, block, _NEIGHBORS, metric=_faiss().METRIC_INNER_PRODUCT)
        heap.add_result(cosines, rows + start)
    heap.finalize()
    return [[int(position) for position in row] for row in heap.I]


@contextmanager
def _all_cores() -> Iterator[None]:
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else before)
    try:
        yield
    finally:
        faiss.omp_set_num_threads(before)


def _faiss() -> Any:
    try:
        return importlib.import_module("faiss")
    except ImportError as error:
        raise GalleryError("the accelerator needs faiss: pip install 'lookalike[scale]'") from error
