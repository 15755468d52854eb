"""Adding and searching as a gallery grows: empty files, and generated vectors in place of a model.

Prints a table: rows, seconds of listing and adding, their peak of memory above that of the process with its
libraries loaded and one small commit done, that of it which is the listing's own peak, and milliseconds of a
search for 10, exact and, from 100,000 rows, by the index of ``optimize`` (with the seconds to build it and
its recall at 100). Seconds and milliseconds are those of the processor, which other programs disturb less.
Each size runs in a process of its own, with two heaps as ``lookalike index`` has. Rows are kept in the file
of ``--results``, and sizes that it has are not run again. ``--plot`` draws the table.

    python benchmarks/growth.py [--rows 10000,30000,100000,300000,1000000] [--width 256] [--plot growth.svg]
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
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from environment import describe_run, parser_of
from synthetic import clustered_units, gallery_on

from lookalike import Embedder, Gallery
from lookalike.gallery.add_run import AddRun, AddSettings
from lookalike.gallery.listing import listing_of
from lookalike.images import DecodedFile
from lookalike.store import LanceStore
from lookalike.types.machine import use_few_heaps

WARM = 1_000  # rows of another table first: LanceDB's threads and caches


SETTLED = 4  # seconds after a commit within which a search looks for a newer one again
SEARCHES = 30
INDEXED = 100_000  # rows from which the index is built, too


class Vectors:
    """In place of a model: random unit vectors around 1,000 centers, as those of ``synthetic``."""

    device = torch.device("cpu")

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


def made_folder(folder: Path, n: int) -> Path:
    """A folder with n empty files, 1,000 in each subfolder."""
    for number in range(n):
        if number % 1000 == 0:
            below = folder / f"2024/{number // 1000:05d}"
            below.mkdir(parents=True)
        os.close(os.open(below / f"IMG_{number:09d}.jpg", os.O_CREAT))
    return folder


def added(folder: str, paths: Sequence[str], width: int) -> None:
    """Add files, whose content is not read, as ``index`` adds decoded ones."""
    run = AddRun(LanceStore(folder, width), Vectors(width), AddSettings())
    pixels = np.zeros((4, 4, 3), np.uint8)
    for number, path in enumerate(run.files_to_read(paths)):
        digest = hashlib.sha256(path.encode()).hexdigest()
        run.take(path, DecodedFile(path, digest, 10**5 + number, 10**18 + number, pixels, None))
    assert run.finish().added == len(paths)


class Peak:
    """A context manager: the most memory of this process within, in MB, looked at 50 times a second."""

    def __enter__(self) -> Peak:
        self.most, self._is_over = resident(), threading.Event()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self._watcher.start()
        return self

    def _watch(self) -> None:
        while not self._is_over.wait(0.02):
            self.most = max(self.most, resident())

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._watcher.join()


def measure(n: int, width: int) -> dict[str, float]:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as top:
        added(f"{top}/warm", [f"/warm/{number}.jpg" for number in range(WARM)], width)
        photos = made_folder(Path(top) / "photos", n)
        before, start, row = resident(), time.process_time(), {"rows": float(n)}
        with Peak() as of_adding:
            with Peak() as of_listing:
                paths = listing_of(photos, ()).paths
            added(f"{top}/grown", paths, width)
        row["adding"] = time.process_time() - start
        row["listing"], row["peak"] = of_listing.most - before, of_adding.most - before
        gallery = gallery_on(LanceStore(f"{top}/grown", width), Embedder.load("mini"), uri=f"{top}/grown")
        time.sleep(SETTLED)
        row["exact"] = search_ms(gallery, width)
        if n >= INDEXED:
            queries = clustered_units(SEARCHES, width, seed=1)
            worst = [gallery.search(query, k=100)[-1].similarity for query in queries]
            row["building"] = processor_seconds(gallery.optimize)
            row["indexed"] = search_ms(gallery, width)
            found = [[hit.similarity for hit in gallery.search(query, k=100)] for query in queries]
            row["recall"] = float(np.mean(np.array(found) >= np.array(worst)[:, None] - 1e-6))
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
    indexed = (
        f"{row['indexed']:.1f} ms at recall {row['recall']:.3f}, built in {row['building']:.0f} s"
        if "indexed" in row
        else ""
    )
    return (
        f"| {row['rows']:,.0f} | {row['adding']:.0f} s | {row['peak']:,.0f} MB | {row['listing']:,.0f} MB | "
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
        (1, "listing", "listing", "s:"),
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
    parser.add_argument("--rows", default="10000,30000,100000,300000,1000000")
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the table, as SVG or PNG")
    parser.add_argument("--results", type=Path, metavar="FILE", help="rows as JSON, one a line")
    parser.add_argument("--one", type=int, help="rows of a single measurement, in this process")
    arguments = parser.parse_args()
    if arguments.one:
        use_few_heaps()
        print(json.dumps(measure(arguments.one, arguments.width)))
        return
    print(describe_run(), f"· load {os.getloadavg()[0]:.1f}\n")
    print("| rows | adding | its peak of memory | of listing alone | exact search | by the index |")
    print("|---|---|---|---|---|---|", flush=True)
    file = arguments.results
    lines = file.read_text().splitlines() if file is not None and file.exists() else []
    kept = {row["rows"]: row for row in map(json.loads, lines)}
    rows = []
    for n in map(int, arguments.rows.split(",")):
        if n not in kept:
            command = [sys.executable, __file__, "--one", str(n), "--width", str(arguments.width)]
            said = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
            kept[n] = json.loads(said.splitlines()[-1])
            if file is not None:
                with file.open("a") as results:
                    results.write(json.dumps(kept[n]) + "\n")
        rows.append(kept[n])
        print(written(rows[-1]), flush=True)
    if arguments.plot:
        plotted(rows, arguments.plot)


if __name__ == "__main__":
    main()
