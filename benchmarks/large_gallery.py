"""A gallery beyond the memory budget: filling it, its index, opening, searching and following changes.

    uv run python benchmarks/large_gallery.py --work FOLDER [--rows 10000000] [--width 256] [--rounds 100]

Generated unit vectors around 1,000 centers as records of imaginary pictures, in a table on disk with the
index beside it; queries are 50 others. Each step is a process of its own, and its memory is the peak above
that of the loaded libraries and model, without mapped files (in the second number with them). FAISS itself
is the same index searched for the same candidates, scored again by the same mapped vectors. Recall is that of
an exact search. FOLDER/gallery is removed at the end; ``--keep`` leaves it, and ``--only`` takes up what is
there.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from argparse import Namespace
from collections.abc import Callable
from functools import partial
from pathlib import Path

import faiss
import numpy as np
import torch
from accelerator import resident_mb
from environment import describe_run, parser_of
from synthetic import BATCH, clustered_units, entries_from, gallery_on

from lookalike import Embedder, Gallery
from lookalike.store import LanceStore, faiss_indices

BLOCK = 100_000  # vectors of an exact search at once
CHANGED = 10_000  # rows added, and rows removed


class Watched:
    """Seconds, seconds of the processor and the peak of memory of a block."""

    def __init__(self) -> None:
        self._done = threading.Event()
        self._anonymous = 0.0

    def __enter__(self) -> Watched:
        self._before = resident_mb("RssAnon")
        self._start = time.perf_counter(), time.process_time()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self._anonymous = max(self._anonymous, resident_mb("RssAnon"))

    def __exit__(self, *_: object) -> None:
        elapsed, processor = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        self._done.set()
        self._thread.join()
        self.found = {
            "s": round(elapsed, 2),
            "processor_s": round(processor, 2),
            "peak_mb": round(max(self._anonymous, resident_mb("RssAnon")) - self._before),
            "with_mapped_mb": round(resident_mb("VmHWM") - self._before),
        }


def opened(options: Namespace) -> tuple[LanceStore, Gallery]:
    folder = str(options.work / "gallery")
    store = LanceStore(folder, options.width)
    return store, gallery_on(store, Embedder.load("mini"), uri=folder)


def fill(options: Namespace) -> dict[str, object]:
    """Add all rows, in portions of 100,000."""
    store, _ = opened(options)
    with Watched() as watched:
        for start in range(0, options.rows, BATCH):
            units = clustered_units(
                min(BATCH, options.rows - start), options.width, seed=100 + start // BATCH
            )
            store.add(entries_from(units, start))
    return {"rows": len(store), **watched.found}


def optimize(options: Namespace) -> dict[str, object]:
    """Compact the table and build the index."""
    _, gallery = opened(options)
    with Watched() as watched:
        gallery.optimize()
    files = [file for file in options.work.rglob("*") if file.is_file()]
    table = sum(file.stat().st_size for file in files if ".lance" in str(file))
    mb = {file.name: round(file.stat().st_size / 1e6) for file in files if ".lance" not in str(file)}
    return {**watched.found, "mb": {"table": round(table / 1e6), **mb}}


def search(options: Namespace) -> dict[str, object]:
    """Open and search once, then often: times and recall of FAISS itself and of the gallery."""
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    queries = clustered_units(50, options.width, seed=1)
    embedder = Embedder.load("mini")
    Gallery.in_memory(embedder)
    with Watched() as watched:
        store, gallery = opened(options)
        gallery.search(queries[0])
    found: dict[str, object] = {"rows": len(store), "opening": watched.found}
    accelerator = gallery._searcher.accelerator()
    assert accelerator is not None
    index, vectors = accelerator._index, accelerator._base
    found["index"] = [type(index).__name__, getattr(index, "nprobe", 0), getattr(index, "nlist", 0)]

    def of_faiss(query: np.ndarray, k: int) -> np.ndarray:
        positions = faiss_indices.nearest_positions(index, query, max(2 * k, 64), None)
        return np.sort(np.asarray(vectors[positions]) @ query)[::-1][:k]

    def of_gallery(query: np.ndarray, k: int) -> np.ndarray:
        return np.array([hit.similarity for hit in gallery.search(query, k=k)])

    for k in (10, 100):
        least = exact_cosines(vectors, queries, k)
        found[f"faiss, k={k}"] = speed_of(partial(of_faiss, k=k), queries, least, options.rounds)
        found[f"gallery, k={k}"] = speed_of(partial(of_gallery, k=k), queries, least, options.rounds)
    ids = [hit.id for hit in gallery.search(queries[0], k=20)]
    found["by_id_ms"] = round(float(np.median([timed(partial(gallery.search, id))[0] for id in ids])), 1)
    return found


def speed_of(
    asked: Callable[[np.ndarray], np.ndarray], queries: np.ndarray, least: np.ndarray, rounds: int
) -> dict[str, float]:
    """Recall and times of searches that give cosines, of which ``least`` are the worst true ones, (Q,)."""
    recall = [np.mean(asked(query) >= worst - 1e-6) for query, worst in zip(queries, least, strict=True)]
    times = [timed(partial(asked, queries[number % len(queries)])) for number in range(rounds)]
    elapsed, processor = np.median(times, axis=0)
    return {
        "recall": round(float(np.mean(recall)), 4),
        "ms": round(float(elapsed), 2),
        "slowest_ms": round(max(time for time, _ in times), 1),
        "processor_ms": round(float(processor), 2),
    }


def change(options: Namespace) -> dict[str, object]:
    """The first searches after rows were added and removed."""
    store, gallery = opened(options)
    query = clustered_units(1, options.width, seed=2)[0]
    removed = [hit.id for hit in gallery.search(query, k=CHANGED)]
    store.add(entries_from(clustered_units(CHANGED, options.width, seed=3), options.rows))
    store.remove(removed)
    with Watched() as watched:
        hits = gallery.search(query)
    again = timed(lambda: gallery.search(query))[0]
    assert not {hit.id for hit in hits} & set(removed)
    return {"changed": 2 * CHANGED, "next_search": watched.found, "the_one_after_ms": round(again, 1)}


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Elapsed milliseconds and those of the processor."""
    elapsed, processor = time.perf_counter(), time.process_time()
    work()
    return 1e3 * (time.perf_counter() - elapsed), 1e3 * (time.process_time() - processor)


def exact_cosines(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The k-th best cosine of each query, (Q,)."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(vectors), BLOCK):
        scores = queries @ vectors[start : start + BLOCK].T
        best = -np.partition(-np.hstack([best, scores]), k - 1, axis=1)[:, :k]
    return best.min(1)


STEPS = {"fill": fill, "optimize": optimize, "search": search, "change": change}


def main() -> None:
    """Print one object a step, so that an interrupted run has told what it did."""
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the gallery")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--only", nargs="+", choices=STEPS, default=list(STEPS), help="these steps")
    parser.add_argument("--keep", action="store_true", help="leave the gallery in the folder")
    parser.add_argument("--step", choices=STEPS, help="one step, in this process")
    options = parser.parse_args()
    if options.step:
        print(json.dumps(STEPS[options.step](options)))
        return
    print(describe_run(), f"· load {os.getloadavg()[0]:.1f}", flush=True)
    same = [
        "--work",
        options.work,
        "--rows",
        options.rows,
        "--width",
        options.width,
        "--rounds",
        options.rounds,
    ]
    for step in options.only:
        command = [sys.executable, __file__, "--step", step, *map(str, same)]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        print(json.dumps({step: json.loads(answer)}, indent=2), flush=True)
    if not options.keep:
        shutil.rmtree(options.work / "gallery")


if __name__ == "__main__":
    main()
