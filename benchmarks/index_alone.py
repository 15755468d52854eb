"""The index of a large gallery without its table: building, recall, latency and size on disk.

    uv run python benchmarks/index_alone.py --work FOLDER [--rows 10000000] [--width 256] [--rounds 200]

Generated unit vectors around 1,000 centers in a mapped file, as the accelerator keeps its copy; queries are
50 others. The index is the accelerator's (``store.faiss_indices``); a search takes twice as many candidates
as it is asked for and scores them again by the mapped vectors. Times are of the processor, all threads
together, and elapsed; recall is measured against an exact search. The files of FOLDER are removed at the end.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import faiss
import numpy as np
from environment import describe_run, parser_of
from synthetic import clustered_units

from lookalike.store import faiss_indices

PART = 1_000_000  # vectors generated at once
BLOCK = 100_000


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Elapsed seconds and those of the processor."""
    elapsed, processor = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - elapsed, time.process_time() - processor


def written(path: Path, rows: int, width: int) -> np.ndarray:
    """The vectors (rows, width) in a file, mapped to be read."""
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (rows, width))
    for number, start in enumerate(range(0, rows, PART)):
        part = vectors[start : start + PART]
        part[:] = clustered_units(len(part), width, seed=100 + number)
    vectors.flush()
    return np.load(path, mmap_mode="r")


def exact_cosines(vectors: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """The k-th best cosine of each query, (Q,)."""
    best = np.full((len(queries), k), -np.inf, np.float32)
    for start in range(0, len(vectors), BLOCK):
        scores = queries @ vectors[start : start + BLOCK].T
        best = -np.partition(-np.hstack([best, scores]), k - 1, axis=1)[:, :k]
    return best.min(1)


def searched(index: object, vectors: np.ndarray, query: np.ndarray, k: int) -> np.ndarray:
    """The cosines of k results, best first."""
    positions = faiss_indices.nearest_positions(index, query, max(2 * k, 64), None)
    return np.sort(vectors[positions] @ query)[::-1][:k]


def latency(
    index: object, vectors: np.ndarray, queries: np.ndarray, least: np.ndarray, k: int, rounds: int
) -> dict[str, float]:
    """Recall and medians of a search for k."""
    recall, times = [], []
    for query, cosine in zip(queries, least, strict=True):
        recall.append(float(np.mean(searched(index, vectors, query, k) >= cosine - 1e-6)))
    for number in range(rounds):
        query = queries[number % len(queries)]
        times.append(timed(lambda: searched(index, vectors, query, k)))  # noqa: B023
    elapsed, processor = np.median(times, axis=0) * 1e3
    return {
        "recall": round(float(np.mean(recall)), 4),
        "elapsed_ms": round(float(elapsed), 2),
        "processor_ms": round(float(processor), 2),
    }


def main() -> None:
    """Print one object a step, so that an interrupted run has told what it did."""
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, required=True, help="folder for the vectors and the index")
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=200)
    options = parser.parse_args()
    print(describe_run(), f"· load {os.getloadavg()[0]:.1f}", flush=True)
    options.work.mkdir(parents=True, exist_ok=True)
    vector_file, index_file = options.work / "vectors.npy", options.work / "index.faiss"
    vectors = written(vector_file, options.rows, options.width)
    queries = clustered_units(50, options.width, seed=1)
    built: list[object] = []
    elapsed, processor = timed(lambda: built.append(faiss_indices.built_index(vectors)))
    index = built[0]
    print(
        json.dumps({"rows": options.rows, "build_s": round(elapsed), "processor_s": round(processor)}),
        flush=True,
    )
    faiss_indices.write_index(index, index_file)
    sizes = {file.name: round(file.stat().st_size / 1e6) for file in (vector_file, index_file)}
    print(json.dumps({"lists": index.nlist, "searched": index.nprobe, "mb": sizes}), flush=True)
    faiss.omp_set_num_threads(1)
    for k in (10, 100):
        least = exact_cosines(vectors, queries, k)
        print(json.dumps({"k": k, **latency(index, vectors, queries, least, k, options.rounds)}), flush=True)
    for file in (vector_file, index_file):
        file.unlink()


if __name__ == "__main__":
    main()
