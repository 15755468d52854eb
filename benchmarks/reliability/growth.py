"""Disk of a table as rows are added in the portions in which ``index`` commits them, and as all change.

Prints a table: rows, bytes of a table that was written at once, the most that the growing table took at this
many rows or less for each of its bytes, and what it took after all rows had been written anew five times.

    python benchmarks/reliability/growth.py [--rows 1000,10000,66000] [--width 256]
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from lookalike.store import Entry, LanceStore, Record, record_id

sys.path.insert(0, str(Path(__file__).parents[1]))
from environment import describe_run, parser_of, seconds

CHUNK = 8192


def entries(first: int, n: int, width: int) -> list[Entry]:
    """Rows such as those of photographs: random hashes, paths of 40 characters."""
    draw = np.random.default_rng(first)
    vectors = draw.standard_normal((n, width)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    hashes = [draw.bytes(32).hex() for _ in range(n)]
    return [
        Entry(
            Record(record_id(hash), f"/photos/2024/05/17/IMG_{number:09d}.jpg", hash, 10**6 + number, 10**18),
            vector,
        )
        for number, (hash, vector) in enumerate(zip(hashes, vectors, strict=True), first)
    ]


def size_of(folder: Path) -> int:
    """Bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def portions(n: int) -> Iterator[tuple[int, int]]:
    """First row and number of rows of each commit, as ``gallery.adding`` makes them."""
    first = 0
    while first < n:
        size = min(max(128, first // 64), n - first)
        yield first, size
        first += size


def measure(n: int, width: int) -> str:
    """One row of the table."""
    with tempfile.TemporaryDirectory() as top:
        store = LanceStore(Path(top) / "grown", width)
        sizes: list[tuple[int, int]] = []

        def grow() -> None:
            for first, size in portions(n):
                store.add(entries(first, size, width))
                sizes.append((first + size, size_of(Path(top) / "grown")))

        spent = seconds(grow)
        fresh = LanceStore(Path(top) / "fresh", width)
        fresh.add(store.entries_at(store.version, [record.id for record in store.records()]))
        live = size_of(Path(top) / "fresh")
        most = max(bytes_now / (live * rows / n) for rows, bytes_now in sizes if rows * 4 >= n)
        for turn in range(5):
            for start in range(0, n, CHUNK):
                records = store.records()[start : start + CHUNK]
                store.update([replace(record, metadata={"turn": turn}) for record in records])
        return (
            f"| {n:,} | {len(sizes)} | {live / 1e6:,.1f} MB | {sizes[-1][1] / live:.2f} | {most:.2f} | "
            f"{size_of(Path(top) / 'grown') / live:.2f} | {spent:,.0f} s |"
        )


def main() -> None:
    """Print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--rows", default="1000,10000,66000")
    parser.add_argument("--width", type=int, default=256)
    arguments = parser.parse_args()
    print(describe_run())
    print("| rows | commits | written at once | grown | most on the way | all changed 5 times | adding |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for n in map(int, arguments.rows.split(",")):
        print(measure(n, arguments.width), flush=True)


if __name__ == "__main__":
    main()
