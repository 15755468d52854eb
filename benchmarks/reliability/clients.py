"""Many clients at once against `lookalike serve`: answers, errors, refusals, latencies, memory over the time.

A real server on the loopback and clients that send the next request when they have an answer: pictures,
lists, searches by id, box, upload and filter, re-ranking, explanations, cells, reports; one request in twenty
is wrong on purpose. A client that is told to come again (503 with Retry-After) waits as long as it was told.
Without ``--gallery``, 60 generated rooms are indexed first.

    python benchmarks/reliability/clients.py --minutes 5 --clients 64
"""

from __future__ import annotations

import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path

import httpx
import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
from environment import describe_run, parser_of

from lookalike import scenes
from lookalike.gallery import Gallery, folder_labels

KINDS = {
    "picture": 20,
    "list": 10,
    "search": 15,
    "search by a box": 10,
    "search by an upload": 12,
    "search and re-rank": 6,
    "explanation": 12,
    "cells": 8,
    "report": 2,
    "wrong": 5,
}
RERANKERS = ("aqe", "k-reciprocal", "shares")
N_SAMPLES = 200  # of memory over the run


class Client(threading.Thread):
    """Sends one request after the other until the time is over, and notes what came back."""

    def __init__(self, address: str, ids: list[str], upload: bytes, seed: int, until: float) -> None:
        super().__init__()
        self._http = httpx.Client(base_url=address, timeout=120)
        self._ids, self._upload, self._until = ids, upload, until
        self._random = random.Random(seed)
        self.seconds: dict[str, list[float]] = defaultdict(list)  # of requests that were worked on
        self.outcomes: Counter[str] = Counter()

    def run(self) -> None:
        """Ask until the time is over."""
        while (start := time.monotonic()) < self._until:
            (kind,) = self._random.choices(list(KINDS), list(KINDS.values()))
            try:
                answer = self._ask(kind)
            except httpx.HTTPError as error:
                self.outcomes[f"no answer: {type(error).__name__}"] += 1
                continue
            if answer.status_code == 503:
                wait = answer.headers.get("retry-after")
                self.outcomes["503 with Retry-After" if wait else "503 without Retry-After"] += 1
                time.sleep(min(float(wait or 1), max(0.0, self._until - time.monotonic())))
                continue
            is_right = answer.status_code == 422 if kind == "wrong" else answer.status_code in (200, 201)
            self.outcomes["answered" if is_right else f"wrong answer: {answer.status_code} to {kind}"] += 1
            self.seconds[kind].append(time.monotonic() - start)
        self._http.close()

    def _ask(self, kind: str) -> httpx.Response:
        here, there = self._random.sample(self._ids, 2)
        gallery, http = "/api/galleries/load", self._http
        search = {"query": here, "k": 12}
        if kind == "picture":
            return http.get(
                f"{gallery}/pictures/{here}", params={"side": self._random.choice((160, 480, 1024))}
            )
        if kind == "list":
            return http.get(f"{gallery}/pictures", params={"limit": 60})
        if kind == "search by an upload":
            return http.post(f"{gallery}/search/upload", files={"file": ("a.jpg", self._upload)})
        if kind in ("explanation", "cells"):
            pair = (
                {"query": here, "match": there} if kind == "explanation" else {"first": here, "second": there}
            )
            return http.get(
                f"{gallery}/{kind}", params={**pair, **({"x": 90, "y": 70} if kind == "cells" else {})}
            )
        more = {
            "search by a box": {"box": [5, 5, 150 + self._random.randrange(100), 120]},
            "search and re-rank": {"rerank": self._random.choice(RERANKERS), "where": "label != 'x'"},
            "wrong": {"box": [9, 9, 5, 5]},
        }.get(kind, {})
        return http.post(f"{gallery}/{'report' if kind == 'report' else 'search'}", json={**search, **more})


def main() -> None:
    """Run the clients, and print the figures."""
    parser = parser_of(__doc__)
    parser.add_argument("-g", "--gallery", help="an existing gallery, named load.gallery")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--clients", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        uri = options.gallery or made_gallery(Path(folder))
        command = [sys.executable, "-m", "lookalike", "serve", "-g", uri, "--port", "0"]
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            address = next(word for word in server.stdout.readline().split() if word.startswith("http"))
            print(describe_run())
            report(*load(address, server.pid, options.clients, 60 * options.minutes))
        finally:
            server.terminate()
            print(f"the server ended with exit code {server.wait(60)}")


def made_gallery(folder: Path) -> str:
    rooms = scenes.gallery_of_rooms(5, n_paintings=20, rooms_per_painting=3, size=(360, 480))
    for i, room in enumerate(rooms.rooms):
        file = folder / "rooms" / f"painting {rooms.labels[i]}" / f"{i}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        room.image.save(file)
    gallery = Gallery.create(folder / "load.gallery", "mini")
    gallery.add(folder / "rooms", metadata=folder_labels(folder / "rooms"))
    return str(folder / "load.gallery")


def load(address: str, pid: int, n_clients: int, seconds: float) -> tuple[list[Client], list[float], float]:
    """Run the clients; return them, the memory in MiB over the run, and the time taken."""
    with httpx.Client(base_url=address, timeout=120) as http:
        listed = http.get("/api/galleries/load/pictures", params={"limit": 500}).json()["pictures"]
        ids = [picture["id"] for picture in listed]
        upload = http.get(f"/api/galleries/load/pictures/{ids[0]}", params={"side": 1600}).content
        http.post(
            "/api/galleries/load/search/upload", files={"file": ("a.jpg", upload)}
        )  # starts its decoder
    start = time.monotonic()
    clients = [Client(address, ids, upload, seed, start + seconds) for seed in range(n_clients)]
    memory = [memory_of(pid)]
    for client in clients:
        client.start()
    while any(client.is_alive() for client in clients):
        time.sleep(seconds / N_SAMPLES)
        memory.append(memory_of(pid))
    return clients, memory, time.monotonic() - start


def memory_of(pid: int) -> float:
    """Resident memory of a process and its children, in MiB."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for each in (str(pid), *children):
        lines = Path(f"/proc/{each}/status").read_text().splitlines()
        total += next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)
    return total / 1024


def report(clients: list[Client], memory: list[float], seconds: float) -> None:
    """Print outcomes, latencies by kind, and memory in the parts of the run."""
    outcomes: Counter[str] = sum((client.outcomes for client in clients), Counter())
    by_kind = {kind: [s for client in clients for s in client.seconds[kind]] for kind in KINDS}
    everything = [s for each in by_kind.values() for s in each]
    print(f"\n{len(clients)} clients, {seconds:.0f} s, {outcomes.total():,} requests:")
    for outcome, n in outcomes.most_common():
        print(f"- {outcome}: {n:,}")
    print(f"- answers a second: {len(everything) / seconds:.1f}")
    print("\n| request | answers | p50, s | p95, s | p99, s | longest, s |\n|---|---|---|---|---|---|")
    for kind, some in [*by_kind.items(), ("all", everything)]:
        if some:
            p50, p95, p99 = np.percentile(some, (50, 95, 99))
            print(f"| {kind} | {len(some):,} | {p50:.2f} | {p95:.2f} | {p99:.2f} | {max(some):.2f} |")
    n = len(memory)
    parts = {
        "start": memory[:1],
        "first quarter": memory[: n // 4 + 1],
        "middle": memory[n // 4 : 3 * n // 4],
    }
    parts["last quarter"] = memory[3 * n // 4 :]
    words = ", ".join(f"{name} {max(part):,.0f}" for name, part in parts.items() if part)
    print(
        f"\nmemory of the server and its decoder, MiB, highest of each part: {words}; end {memory[-1]:,.0f}\n"
    )


if __name__ == "__main__":
    main()
