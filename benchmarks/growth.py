"""Adding and searching as a gallery grows: generated vectors in place of a model, no pictures.

Prints a table: rows, seconds of adding, its peak of memory above that of the process with its libraries
loaded and one small commit done, that of it which is the list of paths, and milliseconds of a search for 10,
exact and, from 100,000 rows, by the index of ``optimize`` (with the seconds to build it). Seconds and
milliseconds are those of the processor, which other programs disturb less. Each size runs in a process of
its own, with two heaps as ``lookalike index`` has. ``--plot`` draws the table.

    python benchmarks/growth.py [--rows 10000,30000,100000,300000] [--width 256] [--plot growth.svg]
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from environment import describe_run, parser_of
from synthetic import clustered_units, gallery_on

from lookalike import Embedder, Gallery
from lookalike.gallery.add_run import AddRun, AddSettings
from lookalike.images import DecodedFile
from lookalike.store import LanceStore
from lookalike.types.machine import use_few_heaps

WARM = 1_000  # rows of another table first: LanceDB's threads and caches


SEARCHES = 30
INDEXED = 100_000  # rows from which the index is built, too


class Vectors:
    """In place of a model: random unit vectors around 1,000 centers, as those of ``synthetic``."""

    def __init__(self, width: int) -> None:
        self._centers = np.random.default_rng(12345).standard_normal((1000, width), dtype=np.float32)
        self._draw = np.random.default_rng(0)

    def embed_pixels(self, pixels: list[np.ndarray], names: list[str]) -> torch.Tensor:
        vectors = self._centers[self._draw.integers(len(self._centers), size=len(pixels))]
        vectors += 0.7 * self._draw.standard_normal(vectors.shape, dtype=np.float32)
        return torch.nn.functional.normalize(torch.from_numpy(vectors))


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


def measure(n: int, width: int) -> dict[str, float]:
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
        row = {"rows": float(n), "paths": resident() - before}
        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        row["adding"] = processor_seconds(lambda: added(f"{top}/grown", paths, width))
        is_over.set()
        watcher.join()
        row["peak"] = most - before
        gallery = gallery_on(LanceStore(f"{top}/grown", width), Embedder.load("mini"), uri=f"{top}/grown")
        row["exact"] = search_ms(gallery, width)
        if n >= INDEXED:
            row["building"] = processor_seconds(gallery.optimize)
            row["indexed"] = search_ms(gallery, width)
    return row


def search_ms(gallery: Gallery, width: int) -> float:
    """Median of some searches, after a first one."""
    queries = clustered_units(SEARCHES + 1, width, seed=1)
    gallery.search(queries[0], k=10)
    taken = [processor_seconds(lambda: gallery.search(query, k=10)) for query in queries[1:]]  # noqa: B023
    return 1e3 * float(np.median(taken))


def processor_seconds(work: Callable[[], object]) -> float:
    """Processor time of one call, in all threads."""
    start = time.process_time()
    work()
    return time.process_time() - start


def written(row: dict[str, float]) -> str:
    """A row of the table in Markdown."""
    indexed = f"{row['indexed']:.1f} ms, built in {row['building']:.0f} s" if "indexed" in row else ""
    return (
        f"| {row['rows']:,.0f} | {row['adding']:.0f} s | {row['peak']:,.0f} MB | {row['paths']:,.0f} MB | "
        f"{row['exact']:.1f} ms | {indexed} |"
    )


def plotted(rows: list[dict[str, float]], file: Path) -> None:
    """Draw time of adding, its memory, and time of searching over the number of rows."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    lines = (
        (0, "adding", "measured", "o-"),
        (1, "peak", "measured", "o-"),
        (1, "paths", "the list of paths", "s:"),
        (2, "exact", "exact", "o-"),
        (2, "indexed", "by the index", "s-"),
    )
    for panel, name, label, style in lines:
        some = [row for row in rows if name in row]
        panels[panel].plot([r["rows"] for r in some], [r[name] for r in some], style, label=label)
    first, last = rows[0], rows[-1]
    ends = [first["rows"], last["rows"]]
    for panel, name in ((0, "adding"), (2, "exact")):
        panels[panel].plot(ends, [last[name] * n / last["rows"] for n in ends], "k--", lw=0.8, label="linear")
        panels[panel].set_yscale("log")
    panels[1].axhline(150, color="k", ls="--", lw=0.8, label="goal")
    panels[1].set_ylim(bottom=0)
    titles = ("Adding, processor seconds", "Peak of memory of adding, MB", "A search, processor milliseconds")
    for panel, title in zip(panels, titles, strict=True):
        panel.set(xscale="log", xlabel="rows", title=title)
        panel.grid(alpha=0.3)
        panel.legend(frameon=False, fontsize=8)
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", default="10000,30000,100000,300000")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the table, as SVG or PNG")
    parser.add_argument("--one", type=int, help="rows of a single measurement, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        use_few_heaps()
        print(json.dumps(measure(arguments.one, arguments.width)))
        return
    print(describe_run(), f"· load {os.getloadavg()[0]:.1f}\n")
    print("| rows | adding | its peak of memory | of it the paths | exact search | by the index |")
    print("|---|---|---|---|---|---|", flush=True)
    rows = []
    for n in map(int, arguments.rows.split(",")):
        command = [sys.executable, __file__, "--one", str(n), "--width", str(arguments.width)]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        rows.append(json.loads(said.splitlines()[-1]))
        print(written(rows[-1]), flush=True)
    if arguments.plot:
        plotted(rows, arguments.plot)


if __name__ == "__main__":
    main()
