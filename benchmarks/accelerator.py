"""The accelerator against FAISS itself, and what it costs to build, to follow changes and to open.

    uv run python benchmarks/accelerator.py [--rows 1000000] [--width 256] [--rounds 50] [--folder DIR]

Generated unit vectors around 1,000 centers in a gallery on disk; queries are 50 others. FAISS itself: the
same index searched with the same number of lists for the same candidates, which are re-scored with vectors in
memory, so that recall is equal. Both sides take turns; times of searches are of the processor, so that
other programs on the machine count less. Opening and first search run in a process of their own. A gallery
with an index that lies in ``--folder`` is taken instead of a new one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from environment import describe_run, parser_of, seconds
from synthetic import clustered_units, entries, filled, gallery_on

from lookalike import Embedder, Gallery
from lookalike.store import LanceStore, faiss_indices

K, CHANGED = 100, 0.01  # results; part of the rows that is added, and part that is removed


def processor_ms(work: Callable[[], object]) -> float:
    """Milliseconds of the processor, all threads."""
    start = time.process_time()
    work()
    return 1e3 * (time.process_time() - start)


def resident_mb(name: str) -> float:
    """Memory of this process: VmRSS or VmHWM (its peak); RssAnon leaves mapped files out."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def opened(folder: str, width: int) -> dict[str, float]:
    """Memory that a gallery's first search takes above that of the loaded libraries and model."""
    embedder = Embedder.load("mini")
    query = clustered_units(1, width, seed=2)[0]
    Gallery.in_memory(embedder)
    before = resident_mb("VmRSS")
    spent = seconds(lambda: gallery_on(LanceStore(folder, width), embedder, uri=folder).search(query, k=K))
    return {"s": round(spent, 2), "peak_mb": round(resident_mb("VmHWM") - before)}


def compared(
    gallery: Gallery, units: np.ndarray, queries: np.ndarray, rounds: int, k: int
) -> dict[str, float]:
    """Recall and processor time of both sides for k results."""
    accelerator = gallery._searcher.accelerator()
    assert accelerator is not None
    index, vectors = accelerator._index, np.array(accelerator._base)  # in the order of the index

    def faiss_itself(query: np.ndarray) -> np.ndarray:
        positions = faiss_indices.nearest_positions(index, query, max(2 * k, 64), None)
        return np.sort(vectors[positions] @ query)[::-1][:k]

    def recall(cosines: np.ndarray, query: np.ndarray) -> float:
        return float(np.mean(cosines >= np.partition(units @ query, -k)[-k] - 1e-6))

    times, recalls = np.empty((rounds, 2)), np.empty((rounds, 2))
    for number in range(rounds):
        query = queries[number % len(queries)]
        cosines = np.array([hit.similarity for hit in gallery.search(query, k=k)])
        recalls[number] = recall(faiss_itself(query), query), recall(cosines, query)
    for number in range(rounds):
        query = queries[number % len(queries)]
        times[number, 0] = processor_ms(lambda: faiss_itself(query))  # noqa: B023
        times[number, 1] = processor_ms(lambda: gallery.search(query, k=k))  # noqa: B023
    (faiss_ms, gallery_ms), (of_faiss, of_gallery) = np.median(times, axis=0), recalls.mean(0)
    return {
        "faiss_ms": round(float(faiss_ms), 2),
        "gallery_ms": round(float(gallery_ms), 2),
        "ratio": round(float(np.median(times[:, 1] / times[:, 0])), 2),
        "faiss_recall": round(float(of_faiss), 4),
        "gallery_recall": round(float(of_gallery), 4),
    }


def exact_ms(folder: str, width: int, queries: np.ndarray) -> float:
    """Processor time of an exact search for 10."""
    gallery = gallery_on(LanceStore(folder, width), Embedder.load("mini"))  # knows no folder, and so no index
    gallery.search(queries[0])
    return round(float(np.median([processor_ms(lambda: gallery.search(query)) for query in queries])), 1)  # noqa: B023


def changed(gallery: Gallery, store: LanceStore, units: np.ndarray, query: np.ndarray) -> dict[str, float]:
    """Seconds of the first search after rows were added and removed."""
    n = int(CHANGED * len(units))
    (new,) = entries(clustered_units(n, units.shape[1], seed=3))
    shifted = [
        type(each)(type(each.record)(**{**vars(each.record), "id": f"{i:020x}"}), each.embedding)
        for i, each in enumerate(new)
    ]
    store.add(shifted)
    store.remove([record.id for record in store.records()[:n]])
    return {
        "rows": 2 * n,
        "next_search_s": round(seconds(lambda: gallery.search(query, k=K)), 2),
        "the_one_after_s": round(seconds(lambda: gallery.search(query, k=K)), 4),
    }


def made(folder: str, rows: int, width: int) -> dict[str, object]:
    """Fill a gallery and index it."""
    store = LanceStore(folder, width)
    filled(store, clustered_units(rows, width))
    start = time.process_time()
    wall = seconds(gallery_on(store, Embedder.load("mini"), uri=folder).optimize)
    spent = time.process_time() - start
    return {"rows": rows, "width": width, "build": {"s": round(wall, 1), "processor_s": round(spent, 1)}}


def measured(folder: str, width: int, rounds: int) -> dict[str, object]:
    """Everything about a gallery that has an index."""
    store = LanceStore(folder, width)
    gallery = gallery_on(store, Embedder.load("mini"), uri=folder)
    files = [file for file in (Path(folder) / "accelerator").rglob("*") if file.is_file()]
    accelerator = gallery._searcher.accelerator()
    assert accelerator is not None
    index, units = accelerator._index, np.array(accelerator._base)
    queries = clustered_units(50, width, seed=1)
    found: dict[str, object] = {"rows": len(units), "width": width}
    found["on_disk_mb"] = {file.name: round(file.stat().st_size / 1e6) for file in files}
    found["index"] = [type(index).__name__, getattr(index, "nprobe", 0), getattr(index, "nlist", 0)]
    for k in (10, K):
        found[f"k={k}"] = compared(gallery, units, queries, rounds, k)
    found["exact_ms"] = exact_ms(folder, width, queries)
    print(json.dumps(found), flush=True)
    command = [sys.executable, __file__, "--open", folder, "--width", str(width)]
    answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found["opened"] = json.loads(answer) | {"vectors_mb": round(units.nbytes / 1e6)}
    found["changed"] = changed(gallery, store, units, queries[0])
    return found


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--folder", help="a gallery with an index")
    parser.add_argument("--open", help="only open the gallery in this folder and search once")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.open:
        print(json.dumps(opened(options.open, options.width)))
        return
    print(describe_run(), f"· load {os.getloadavg()[0]:.1f}", flush=True)
    if options.folder:
        print(json.dumps(measured(options.folder, options.width, options.rounds), indent=2))
        return
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(made(folder, options.rows, options.width)), flush=True)
        print(json.dumps(measured(folder, options.width, options.rounds), indent=2))


if __name__ == "__main__":
    main()
