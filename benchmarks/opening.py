"""Memory and time of opening a gallery and its first search, exact: generated vectors, no pictures.

    python benchmarks/opening.py [--rows 100000,1000000] [--width 256]

Prints the peak of memory above that of a process with its libraries and model loaded, over the bytes of the
gallery's vectors in float32. Each size is opened in a process of its own. The goal is 1.5 at a million.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from environment import describe_run, parser_of, seconds
from synthetic import clustered_units, entries, filled, gallery_on

from lookalike import Embedder, Gallery
from lookalike.store import LanceStore, MemoryStore


def resident_mb(name: str) -> float:
    """VmRSS, the memory of this process, or VmHWM, its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1000


def opened(folder: str, width: int) -> str:
    """Peak in MB and seconds."""
    embedder = Embedder.load("mini")
    query = clustered_units(1, width, seed=2)[0]
    small = MemoryStore(width)
    for batch in entries(clustered_units(1_000, width)):
        small.add(batch)
    gallery_on(small, embedder).search(query)  # loads what any search needs
    Gallery.in_memory(embedder)
    before = resident_mb("VmRSS")
    spent = seconds(lambda: gallery_on(LanceStore(folder, width), embedder, uri=folder).search(query))
    return f"{resident_mb('VmHWM') - before} {spent}"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--rows", default="100000,1000000")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--open", help="only open the gallery in this folder")
    options = parser.parse_args()
    if options.open:
        print(opened(options.open, options.width))
        return
    print(describe_run())
    print("| rows | vectors | peak | ratio | opening and first search |\n|---|---|---|---|---|", flush=True)
    for n in map(int, options.rows.split(",")):
        with tempfile.TemporaryDirectory() as folder:
            filled(LanceStore(folder, options.width), clustered_units(n, options.width))
            command = [sys.executable, __file__, "--open", folder, "--width", str(options.width)]
            answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        peak, spent = map(float, answer.split())
        vectors = 4e-6 * n * options.width
        row = f"| {n:,} | {vectors:,.0f} MB | {peak:,.0f} MB | {peak / vectors:.2f} | {spent:.1f} s |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
