"""200 queries in one command: `lookalike search --each`, whole, and killed in the middle and repeated.

    python benchmarks/each.py [--queries 200] [--model mini] [--report]

Butterflies: the first ``--queries`` of the 832 files, in an order of chance, are queries, the others a
gallery, with their species as metadata. The command is run as people run it, in a process of its own at a
terminal of its own, so that its progress can be read. The second run gets SIGKILL when half of its queries
are written, and the same command is repeated; its table is compared with that of the first.
"""

from __future__ import annotations

import csv
import os
import pty
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from environment import add_shared, describe_run, parser_of

from lookalike.gallery import Gallery


@dataclass(frozen=True)
class Run:
    """One run of the command."""

    seconds: float
    code: int
    progress: list[str]  # what its bar said, in order
    said: str  # on standard output


def main() -> None:
    """Index, run, kill, repeat, and print what happened."""
    parser = parser_of(__doc__)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--model", default="mini")
    parser.add_argument("--report", action="store_true", help="write the report, too")
    add_shared(parser)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        gallery = prepare(options.shared / "data/butterflies/images", folder, options.queries, options.model)
        print(f"{describe_run()} · load {os.getloadavg()[0]:.0f} · {len(gallery)} images, {options.model}")
        whole, cut = folder / "whole.csv", folder / "cut.csv"
        report = ["--report", str(folder / "report.html")] if options.report else []
        first = run(folder, whole, *report)
        print(f"whole: {first.seconds:.1f} s, exit code {first.code}; {first.said.strip().splitlines()[-1]}")
        print(f"its progress said, among {len(first.progress)}: {first.progress[len(first.progress) // 2]}")
        killed = run(folder, cut, kill_at=options.queries // 2)
        n_written = len(queries_of(cut))
        print(f"killed after {killed.seconds:.1f} s (exit code {killed.code}): {n_written} queries written")
        again = run(folder, cut)
        print(f"repeated: {again.seconds:.1f} s, exit code {again.code}")
        found = queries_of(whole)
        print(f"{len(found)} queries, {min(found.values())} to {max(found.values())} rows each; ", end="")
        print(f"the table of the repeated run {compared(rows_of(whole), rows_of(cut))}")
        columns = whole.read_text().splitlines()[0]
        print(f"columns: {columns}; {right(whole):.0%} of first hits are of the species")


def prepare(source: Path, folder: Path, n_queries: int, model: str) -> Gallery:
    """Link queries and gallery into folders, and index the gallery with species as metadata."""
    files = sorted(source.glob("*.*"))
    order = np.random.default_rng(0).permutation(len(files))
    for part, rows in (("queries", order[:n_queries]), ("gallery", order[n_queries:])):
        (folder / part).mkdir()
        for row in rows:
            (folder / part / files[row].name).symlink_to(files[row])
    gallery = Gallery.create(folder / "butterflies.gallery", model)
    gallery.add(folder / "gallery", metadata=lambda path: {"species": Path(path).name[:3]})
    return gallery


def run(folder: Path, table: Path, *more: str, kill_at: int | None = None) -> Run:
    """Run the command at a terminal of its own; kill it once so many queries are in the table."""
    command = [sys.executable, "-m", "lookalike", "search", "--each", str(folder / "queries")]
    command += ["-g", str(folder / "butterflies.gallery"), "-k", "5", "--csv", str(table), *more]
    outer, inner = pty.openpty()
    said: list[bytes] = []
    start = time.perf_counter()
    environment = os.environ | {"TERM": "xterm", "COLUMNS": "100"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=inner, text=True, env=environment)
    os.close(inner)
    reader = threading.Thread(target=read_all, args=(outer, said))
    reader.start()
    while kill_at is not None and process.poll() is None:
        if table.exists() and len(queries_of(table)) >= kill_at:
            process.send_signal(signal.SIGKILL)
        time.sleep(0.05)
    answer, _ = process.communicate()
    took = time.perf_counter() - start
    reader.join()
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", b"".join(said).decode(errors="replace"))
    lines = [" ".join(line.split()) for line in re.split(r"[\r\n]+", text)]
    return Run(took, process.returncode, [line for line in lines if "/s" in line], answer)


def read_all(terminal: int, said: list[bytes]) -> None:
    """Read a terminal until its other side is closed."""
    try:
        while data := os.read(terminal, 65536):
            said.append(data)
    except OSError:  # how Linux ends it
        pass
    os.close(terminal)


def rows_of(table: Path) -> list[dict[str, str]]:
    """The rows of a table; the last may be half written."""
    with table.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def queries_of(table: Path) -> Counter[str]:
    """How many rows each query has."""
    return Counter(row["query"] for row in rows_of(table))


def compared(a: list[dict[str, str]], b: list[dict[str, str]]) -> str:
    """Whether two tables have the same hits in the same order, and by how much similarities differ."""
    without = [[{**row, "similarity": ""} for row in rows] for rows in (a, b)]
    if without[0] != without[1]:
        return "has OTHER HITS"
    far = max(abs(float(x["similarity"]) - float(y["similarity"])) for x, y in zip(a, b, strict=True))
    return f"has the same rows, similarities differ by {far:.1g} at most"


def right(table: Path) -> float:
    """The part of first hits that are of the species of their query."""
    first = [row for row in rows_of(table) if row["rank"] == "1"]
    return sum(Path(row["query"]).name[:3] == row["species"] for row in first) / len(first)


if __name__ == "__main__":
    main()
