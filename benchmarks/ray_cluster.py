"""2,000 photographs on a local Ray cluster of two nodes: the gallery that one process makes, whatever dies.

Photographs are drawn from all folders of ``--shared`` by seed, distinct by content; what is missing to the
number are generated rooms. Four galleries are made: by one process, on the cluster, by a program on the
cluster that is killed when a third is done and another one that goes on, and with a node removed when a third
is done. Each is compared with the first: the same files in the same order, embeddings to 1e-6. A node is a
process of this machine with one core, so its speed says what the engine costs, not what machines bring.

    python benchmarks/ray_cluster.py [--images 2000] [--shared ../shared]
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from environment import add_shared, describe_run, parser_of

from lookalike import Gallery, scenes
from lookalike.gallery import adding_on_ray
from lookalike.types import Progress

SUFFIXES = (".jpg", ".jpeg", ".png")
FILES = 64  # in a shard: several for each node, also with fewer photographs


def main() -> None:
    """Make the galleries, and print how they compare."""
    parser = parser_of(__doc__)
    add_shared(parser)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--driver", nargs=3, metavar=("GALLERY", "FOLDER", "ADDRESS"), help="the one killed")
    options = parser.parse_args()
    adding_on_ray._FILES = FILES
    if options.driver:
        uri, folder, address = options.driver
        added_on(Gallery.create(uri, "mini"), folder, address, lambda done: print(done, flush=True))
        return
    print(describe_run(), f"· load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as top:
        compare(options, Path(top))


def compare(options: argparse.Namespace, top: Path) -> None:
    """Print a line of the table for each way."""
    from ray.cluster_utils import Cluster

    warnings.filterwarnings("ignore", message="lancedb fork support", category=RuntimeWarning)
    folder = top / "photographs"
    n_shared = collected(folder, options.shared / "data", options.images)
    print(f"{options.images:,} files, {n_shared:,} of them photographs, the rest generated rooms\n")
    print("| way | files | images/s | same files in order | largest difference | note |")
    print("|---|---|---|---|---|---|", flush=True)
    plain = Gallery.create(top / "plain", "mini")
    start = time.monotonic()
    plain.add(folder, workers=0)
    line("one process", plain, plain, time.monotonic() - start, "")
    os.environ.setdefault("RAY_worker_niceness", "0")  # Ray's 15 starves them where others work, too
    node: dict[str, Any] = {"num_cpus": 1, "object_store_memory": 160 * 2**20}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    second = cluster.add_node(**node)
    try:
        whole = Gallery.create(top / "whole", "mini")
        spent = added_on(whole, str(folder), cluster.address)
        line("two nodes", whole, plain, spent, "the start of the workers included")
        killed_driver(top / "killed", folder, cluster.address, plain)
        lost_node(top / "lost", folder, cluster, second, plain)
    finally:
        cluster.shutdown()


def killed_driver(uri: Path, folder: Path, address: str, plain: Gallery) -> None:
    """Kill the program that fills a gallery, and let another one go on."""
    third = len(plain) // 3
    command = [sys.executable, __file__, "--driver", str(uri), str(folder), address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        for said in driver.stdout:
            if int(said) >= third:
                driver.send_signal(signal.SIGKILL)
                break
    gallery = Gallery.open(uri)
    held, shards = len(gallery), len(list((uri / "shards").glob("*.parquet")))
    spent = added_on(gallery, str(folder), address)
    note = f"killed with {held} committed and {shards} shards finished; speed of the second run"
    line("driver killed", gallery, plain, spent, note, before=held)


def lost_node(uri: Path, folder: Path, cluster: Any, node: Any, plain: Gallery) -> None:
    """Take a node away while it works."""
    third, lost_at = len(plain) // 3, list[int]()

    def lose(done: int) -> None:
        if done >= third and not lost_at:
            lost_at.append(done)
            cluster.remove_node(node, allow_graceful=False)

    gallery = Gallery.create(uri, "mini")
    spent = added_on(gallery, str(folder), cluster.address, lose)
    line("node lost", gallery, plain, spent, f"a node removed with {lost_at[0]} files taken")


def added_on(gallery: Gallery, folder: str, address: str, told: Callable[[int], None] | None = None) -> float:
    """Add a folder on the cluster; seconds."""

    def note(progress: Progress) -> None:
        if told is not None:
            told(progress.done)

    start = time.monotonic()
    gallery.add(folder, engine="ray", address=address, progress=note)
    return time.monotonic() - start


def line(way: str, gallery: Gallery, plain: Gallery, spent: float, note: str, *, before: int = 0) -> None:
    """Compare a gallery with the plain one; ``before`` files of it were there when the time began."""
    ours, theirs = gallery._store.snapshot(), plain._store.snapshot()
    is_same = [record.files for record in ours.records] == [record.files for record in theirs.records]
    gap = float(np.abs(ours.embeddings - theirs.embeddings).max()) if is_same else float("nan")
    rate = (len(gallery) - before) / spent
    print(f"| {way} | {len(gallery):,} | {rate:.1f} | {is_same} | {gap:.1e} | {note} |", flush=True)


def collected(folder: Path, data: Path, n: int) -> int:
    """Link distinct photographs into a folder, fill it up with rooms, and return how many are photographs."""
    folder.mkdir()
    files = sorted(f for f in data.rglob("*") if f.suffix.lower() in SUFFIXES and f.is_file())
    random.Random(0).shuffle(files)
    seen: set[str] = set()
    for file in files:
        if len(seen) == n:
            break
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        if digest not in seen:
            (folder / f"{len(seen):05}{file.suffix.lower()}").symlink_to(file.resolve())
            seen.add(digest)
    n_shared = len(seen)
    if n_rooms := n - n_shared:
        rooms = scenes.gallery_of_rooms(
            5, n_paintings=-(-n_rooms // 3), rooms_per_painting=3, size=(240, 320)
        ).rooms
        for number, room in enumerate(rooms[:n_rooms]):
            room.image.save(folder / f"room-{number:05}.png")
    return n_shared


if __name__ == "__main__":
    main()
