"""Speed of exact and approximate search, against bare torch, LanceDB's own scan and FAISS.

    uv run python benchmarks/search.py [--rows 100000] [--width 512] [--threads 1] [--rounds 50]
    uv run python benchmarks/search.py --approximate --rows 1000000 --width 256

The vectors are random and lie around 1,000 centers. A search is ``Gallery.search`` with a vector: up to
hits with ids, paths and cosines. Exact: all sides run in this process, alternately; a ratio is the median
of each round's ratios, of elapsed and of processor time, to the first of those with the same number of hits
and queries. Approximate: recall@100 against exact cosines,
latency, build time, size.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from environment import describe_run, parser_of, seconds
from synthetic import clustered_units, filled, gallery_on

from lookalike import Embedder, Gallery
from lookalike.store import LanceStore

N_QUERIES = 50
BATCH = 64  # queries at once


def alternately(sides: dict[str, Callable[[np.ndarray], object]], queries: np.ndarray, rounds: int) -> dict:
    """Milliseconds of each side (median, fastest), its ratio to the first one, and that of processor time."""
    times, used = np.empty((rounds, len(sides))), np.empty((rounds, len(sides)))
    for work in sides.values():
        work(queries[0])  # warms up
    for i in range(rounds):
        for j, work in enumerate(sides.values()):
            before = time.process_time()
            times[i, j] = seconds(lambda: work(queries[i % len(queries)]))  # noqa: B023
            used[i, j] = time.process_time() - before
    ratios = np.median(times / times[:, :1], axis=0)
    ratios_of_use = np.median(used / used[:, :1], axis=0)
    return {
        name: {
            "median_ms": round(1e3 * float(np.median(times[:, j])), 2),
            "fastest_ms": round(1e3 * float(times[:, j].min()), 2),
            "ratio": round(float(ratios[j]), 2),
            "processor_time_ratio": round(float(ratios_of_use[j]), 2),
        }
        for j, name in enumerate(sides)
    }


def exact(store: LanceStore, gallery: Gallery, units: np.ndarray, queries: np.ndarray, rounds: int) -> dict:
    import faiss

    flat = faiss.IndexFlatIP(units.shape[1])
    flat.add(units)
    faiss.omp_set_num_threads(torch.get_num_threads())
    vectors = torch.from_numpy(units)
    many = clustered_units(BATCH, units.shape[1], seed=2)
    of_ten: dict[str, Callable[[np.ndarray], object]] = {
        "torch matmul + topk(10)": lambda query: (vectors @ torch.from_numpy(query)).topk(10),
        "Gallery.search, k = 10": lambda query: gallery.search(query, k=10),
        "LanceDB scan": lambda query: store.nearest(query, 10),
        "FAISS flat": lambda query: flat.search(query[None], 10),
    }
    of_hundred: dict[str, Callable[[np.ndarray], object]] = {
        "torch matmul + topk(100)": lambda query: (vectors @ torch.from_numpy(query)).topk(100),
        "Gallery.search, k = 100": lambda query: gallery.search(query, k=100),
    }
    of_batch: dict[str, Callable[[np.ndarray], object]] = {
        f"torch matmul + topk(10) of {BATCH}": lambda _: (torch.from_numpy(many) @ vectors.T).topk(10),
        f"Gallery.search_many of {BATCH}, k = 10": lambda _: gallery.search_many(
            many, k=10, batch_size=BATCH
        ),
    }
    found = alternately(of_ten, queries, rounds) | alternately(of_hundred, queries, rounds)
    return found | alternately(of_batch, queries, max(1, rounds // 5))


def approximate(
    gallery: Gallery, build: Callable[[], object], units: np.ndarray, queries: np.ndarray
) -> dict:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    build_seconds = seconds(build)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    gallery.search(queries[0], k=100)  # loads the index
    recalls, times = [], []
    for query in queries:
        cosines = units @ query
        worst = np.partition(cosines, -100)[-100]
        start = time.perf_counter()
        hits = gallery.search(query, k=100)
        times.append(time.perf_counter() - start)
        recalls.append(np.mean([hit.similarity >= worst - 1e-6 for hit in hits]))
    return {
        "build_s": round(build_seconds, 1),
        "peak_of_the_build_mb": peak // 1024,  # of the process, above what it had taken before
        "median_ms": round(1e3 * float(np.median(times)), 1),
        "recall_at_100": round(float(np.mean(recalls)), 4),
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--approximate", action="store_true", help="HNSW and the store's own index instead")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    embedder = Embedder.load("mini")
    units = clustered_units(options.rows, options.width)
    queries = clustered_units(N_QUERIES, options.width, seed=1)
    results: dict = {"run": describe_run(), "settings": vars(options)}
    with tempfile.TemporaryDirectory() as folder:
        store = LanceStore(folder, options.width)
        results["fill_s"] = round(seconds(lambda: filled(store, units)), 1)
        if options.approximate:
            small = gallery_on(store, embedder, uri=folder, memory_budget=1)
            results["LanceDB IVF_RQ"] = approximate(small, store.build_index, units, queries)
            gallery = gallery_on(store, embedder, uri=folder)
            results["FAISS HNSW-SQ8"] = approximate(gallery, gallery.optimize, units, queries)
            files = (Path(folder) / "accelerator").rglob("*")
            results["FAISS HNSW-SQ8"]["on_disk_mb"] = sum(f.stat().st_size for f in files) // 2**20
        else:
            gallery = gallery_on(store, embedder, uri=folder)
            cold = seconds(lambda: gallery.search(queries[0], k=10))
            results["first_search_of_an_opened_gallery_s"] = round(cold, 2)
            results["exact"] = exact(store, gallery, units, queries, options.rounds)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
