"""Ways to multiply all vectors of a gallery with one query on one thread: processor milliseconds of each.

    python benchmarks/products.py [--rows 100000] [--width 512] [--rounds 21]

Half precision: torch's own product, and blocks that are converted to float32. The scores of either need
re-scoring from vectors in float32 before they are exact; that is not included.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import faiss
import numpy as np
import torch
from environment import describe_run, parser_of
from synthetic import clustered_units

BLOCK = 2048  # rows converted at once


def main() -> None:
    """Print the median of each way."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=21)
    options = parser.parse_args()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    units = clustered_units(options.rows, options.width)
    query = clustered_units(1, options.width, seed=1)[0]
    vectors, unit = torch.from_numpy(units), torch.from_numpy(query)
    half = vectors.half()
    flat = faiss.IndexFlatIP(options.width)
    flat.add(units)
    block, scores = torch.empty(BLOCK, options.width), torch.empty(options.rows)

    def in_blocks() -> None:
        for start in range(0, options.rows, BLOCK):
            part = half[start : start + BLOCK]
            block[: len(part)].copy_(part)
            torch.mv(block[: len(part)], unit, out=scores[start : start + len(part)])

    ways: dict[str, Callable[[], object]] = {
        "torch, float32": lambda: vectors @ unit,
        "numpy's product": lambda: units @ query,
        "numpy's einsum": lambda: np.einsum("gd,d->g", units, query),
        "FAISS flat, with the 10 best": lambda: flat.search(query[None], 10),
        "torch, float16": lambda: half @ unit.half(),
        "float16, blocks as float32": in_blocks,
    }
    times = np.empty((options.rounds + 1, len(ways)))
    for round in range(options.rounds + 1):
        for number, work in enumerate(ways.values()):
            start = time.process_time()
            work()
            times[round, number] = 1e3 * (time.process_time() - start)
    print(describe_run())
    for name, each in zip(ways, np.median(times[1:], axis=0), strict=True):
        print(f"{each:8.1f} ms  {name}")


if __name__ == "__main__":
    main()
