"""Memory and time of adding as a gallery grows: generated vectors in place of a model, no pictures.

Prints a table: rows, peak of memory above that of the process with its libraries loaded and one small
commit done, that of it which is the list of paths, and seconds. Each size runs in a process of its own.

    python benchmarks/growth.py [--rows 10000,100000,300000] [--width 256]
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import torch
from environment import describe_run, parser_of

from lookalike.gallery.add_run import AddRun, AddSettings
from lookalike.images import DecodedFile
from lookalike.store import LanceStore

WARM = 1_000  # rows of another table first: LanceDB's threads and caches


class Vectors:
    """In place of a model: random unit vectors."""

    def __init__(self, width: int) -> None:
        self._draw, self._width = np.random.default_rng(0), width

    def embed_pixels(self, pixels: list[np.ndarray], names: list[str]) -> torch.Tensor:
        vectors = torch.from_numpy(self._draw.standard_normal((len(pixels), self._width), dtype=np.float32))
        return torch.nn.functional.normalize(vectors)


def resident() -> float:
    """MB of this process in memory."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def added(folder: str, paths: list[str], width: int) -> None:
    """Add imaginary files as ``index`` adds decoded ones."""
    run = AddRun(LanceStore(folder, width), Vectors(width), AddSettings())
    pixels = np.zeros((4, 4, 3), np.uint8)
    for number, path in enumerate(run.files_to_read(paths)):
        digest = hashlib.sha256(path.encode()).hexdigest()
        run.take(path, DecodedFile(path, digest, 10**5 + number, 10**18 + number, pixels, None))
    assert run.finish().added == len(paths)


def measure(n: int, width: int) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as top:
        added(f"{top}/warm", [f"/warm/{number}.jpg" for number in range(WARM)], width)
        before = most = resident()
        is_over = threading.Event()

        def watch() -> None:
            nonlocal most
            while not is_over.wait(0.02):
                most = max(most, resident())

        paths = [f"/photos/2024/05/17/IMG_{number:09d}.jpg" for number in range(n)]
        of_paths = resident() - before
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        start = time.monotonic()
        added(f"{top}/grown", paths, width)
        spent = time.monotonic() - start
        is_over.set()
        watcher.join()
    return f"| {n:,} | {most - before:,.0f} MB | {of_paths:,.0f} MB | {spent:,.0f} s |"


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", default="10000,100000,300000")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--one", type=int, help="rows of a single measurement, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        print(measure(arguments.one, arguments.width))
        return
    print(describe_run())
    print("| rows | peak above the start | of it the paths | adding |\n|---|---|---|---|", flush=True)
    for n in map(int, arguments.rows.split(",")):
        command = [sys.executable, __file__, "--one", str(n), "--width", str(arguments.width)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout, end="", flush=True)


if __name__ == "__main__":
    main()
