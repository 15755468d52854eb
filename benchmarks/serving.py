"""Load test of `lookalike serve`: statuses, latencies and throughput with many clients.

A real server process on the loopback interface and clients that each send the next request as soon as
they have an answer: 30 % thumbnails, 20 % searches by id, 15 % by upload, 10 % by a box, 15 %
explanations, 10 % cells. Every answer's status is counted; latencies are of whole answers, seen by the
client. Clients and server share the processors.

    uv run python benchmarks/serving.py -g photos.gallery --seconds 60 --clients 16
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
from environment import describe_run, parser_of

KINDS = {
    "thumbnail": 30,
    "search by id": 20,
    "search by upload": 15,
    "search by box": 10,
    "why": 15,
    "cells": 10,
}


class Client:
    """A client that sends random requests, one at a time, until the time is over."""

    def __init__(self, address: str, pictures: list[str], upload: bytes, seed: int) -> None:
        self._http = httpx.Client(base_url=address, timeout=120)
        self._pictures, self._upload, self._rng = pictures, upload, random.Random(seed)
        (self._gallery,) = self._http.get("/api/health").json()["galleries"]
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.statuses: Counter[int] = Counter()

    def run(self, until: float) -> None:
        kinds, weights = list(KINDS), list(KINDS.values())
        while time.monotonic() < until:
            (kind,) = self._rng.choices(kinds, weights)
            start = time.monotonic()
            try:
                status = self._ask(kind).status_code
            except httpx.HTTPError:
                status = 0  # no answer at all
            self.seconds[kind].append(time.monotonic() - start)
            self.statuses[status] += 1
        self._http.close()

    def _ask(self, kind: str) -> httpx.Response:
        here, there = self._rng.sample(self._pictures, 2)
        path = f"/api/galleries/{self._gallery}"
        search: dict[str, object] = {"query": here, "k": 12}
        asks: dict[str, Callable[[], httpx.Response]] = {
            "thumbnail": lambda: self._http.get(f"{path}/pictures/{here}", params={"side": 480}),
            "search by id": lambda: self._http.post(f"{path}/search", json=search),
            "search by upload": lambda: self._http.post(
                f"{path}/search/upload", files={"file": self._upload}
            ),
            "search by box": lambda: self._http.post(
                f"{path}/search", json={**search, "box": [5, 5, 50, 50]}
            ),
            "why": lambda: self._http.get(f"{path}/explanation", params={"query": here, "match": there}),
            "cells": lambda: self._http.get(
                f"{path}/cells", params={"first": here, "second": there, "x": 30, "y": 30}
            ),
        }
        return asks[kind]()


def start_server(gallery: str) -> tuple[subprocess.Popen[str], str]:
    command = [
        sys.executable,
        "-c",
        "from lookalike.cli import main; main()",
        "serve",
        "-g",
        gallery,
        "--port",
        "0",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    return server, server.stdout.readline().split()[4]


def memory_mb(pid: int) -> int:
    """Resident memory of a process in MB; 0 without /proc."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


def summary(seconds: list[float]) -> dict[str, float]:
    return {
        "n": len(seconds),
        "p50_ms": round(float(np.percentile(seconds, 50)) * 1000),
        "p95_ms": round(float(np.percentile(seconds, 95)) * 1000),
        "max_ms": round(max(seconds) * 1000),
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("-g", "--gallery", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=16)
    options = parser.parse_args()
    server, address = start_server(options.gallery)
    try:
        with httpx.Client(base_url=address, timeout=120) as http:
            (gallery,) = http.get("/api/health").json()["galleries"]
            listed = http.get(f"/api/galleries/{gallery}/pictures", params={"limit": 500}).json()["pictures"]
            ids = [picture["id"] for picture in listed]
            upload = http.get(f"/api/galleries/{gallery}/pictures/{ids[0]}", params={"side": 800}).content
        before = memory_mb(server.pid)
        clients = [Client(address, ids, upload, seed) for seed in range(options.clients)]
        start = time.monotonic()
        threads = [threading.Thread(target=c.run, args=(start + options.seconds,)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - start
        after = memory_mb(server.pid)
    finally:
        server.terminate()
        exit_code = server.wait(30)
    statuses = sum((c.statuses for c in clients), Counter())
    by_kind = {kind: [s for c in clients for s in c.seconds[kind]] for kind in KINDS}
    everything = [s for seconds in by_kind.values() for s in seconds]
    results = {
        "run": describe_run(),
        "load_average": [round(load, 1) for load in os.getloadavg()],  # others that ran meanwhile count
        "pictures": len(ids),
        "clients": options.clients,
        "seconds": round(took, 1),
        "statuses": {str(status): n for status, n in sorted(statuses.items())},
        "requests_per_second": round(len(everything) / took, 1),
        "all": summary(everything),
        **{kind: summary(seconds) for kind, seconds in by_kind.items() if seconds},
        "server_memory_mb": {"before": before, "after": after},
        "server_exit_code": exit_code,
    }
    print(json.dumps(results, indent=2, default=str))


if __name__ == "__main__":
    main()
