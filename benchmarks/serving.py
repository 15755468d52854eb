"""Load test of `lookalike serve`: statuses, latencies and throughput with many clients.

A real server process on the loopback interface and clients that each send the next request as soon as
they have an answer: 30 % thumbnails, 20 % searches by id, 15 % by upload, 10 % by a box, 15 %
explanations, 10 % cells. Every answer's status is counted; latencies are of whole answers, seen by the
client. Clients and server share the processors. With ``--before SRC``, the ``src`` of another checkout, both
forms are served in turn, ``--rounds`` times, with the same requests; the last line is the ratio. What a round
measures is also told in processor time of the server, which other programs disturb less.

    uv run python benchmarks/serving.py -g photos.gallery --seconds 60 --clients 64 --before ../old/src
"""

from __future__ import annotations

import argparse
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
from typing import Any

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
        (kind,) = self._rng.choices(kinds, weights)
        while time.monotonic() < until:
            start = time.monotonic()
            try:
                answer = self._ask(kind)
            except httpx.HTTPError:
                self.statuses[0] += 1  # no answer at all
                continue
            self.statuses[answer.status_code] += 1
            if answer.status_code == 503:  # told to come again, and it does: the mix of answers stays
                time.sleep(min(float(answer.headers["retry-after"]), max(0.0, until - time.monotonic())))
                continue
            self.seconds[kind].append(time.monotonic() - start)
            (kind,) = self._rng.choices(kinds, weights)
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


def start_server(gallery: str, source: Path | None) -> tuple[subprocess.Popen[str], str]:
    """A server of this checkout, or of the ``src`` of another; and its address."""
    command = [sys.executable, "-m", "lookalike", "serve", "-g", gallery, "--port", "0"]
    environment = dict(os.environ) if source is None else {**os.environ, "PYTHONPATH": str(source)}
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert server.stdout is not None
    return server, server.stdout.readline().split()[2]


def memory_mb(pid: int) -> int:
    """Resident memory of a process in MB; 0 without /proc."""
    status = Path(f"/proc/{pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) // 1024 for line in lines if line.startswith("VmRSS")), 0)


def processor_seconds(pid: int) -> float:
    """Processor time that a process has used; 0 without /proc."""
    file = Path(f"/proc/{pid}/stat")
    if not file.exists():
        return 0.0
    fields = file.read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def summary(seconds: list[float]) -> dict[str, float]:
    return {
        "n": len(seconds),
        "p50_ms": round(float(np.percentile(seconds, 50)) * 1000),
        "p95_ms": round(float(np.percentile(seconds, 95)) * 1000),
        "p99_ms": round(float(np.percentile(seconds, 99)) * 1000),
        "max_ms": round(max(seconds) * 1000),
    }


def measure(options: argparse.Namespace, source: Path | None, seed: int) -> dict[str, Any]:
    """Serve, let the clients ask, and return what they saw."""
    server, address = start_server(options.gallery, source)
    try:
        with httpx.Client(base_url=address, timeout=120) as http:
            (gallery,) = http.get("/api/health").json()["galleries"]
            path = f"/api/galleries/{gallery}"
            listed = http.get(f"{path}/pictures", params={"limit": 500}).json()["pictures"]
            ids = [picture["id"] for picture in listed]
            upload = http.get(f"{path}/pictures/{ids[0]}", params={"side": 800}).content
            http.post(f"{path}/search/upload", files={"file": upload})  # starts its decoder
            http.get(f"{path}/explanation", params={"query": ids[0], "match": ids[1]})
        before, used = memory_mb(server.pid), processor_seconds(server.pid)
        clients = [Client(address, ids, upload, 1000 * seed + i) for i in range(options.clients)]
        start = time.monotonic()
        threads = [threading.Thread(target=c.run, args=(start + options.seconds,)) for c in clients]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        took = time.monotonic() - start
        after, used = memory_mb(server.pid), processor_seconds(server.pid) - used
    finally:
        server.terminate()
        exit_code = server.wait(60)
    statuses = sum((c.statuses for c in clients), Counter())
    by_kind = {kind: [s for c in clients for s in c.seconds[kind]] for kind in KINDS}
    everything = [s for seconds in by_kind.values() for s in seconds]
    answered = statuses[200]
    return {
        "pictures": len(ids),
        "seconds": round(took, 1),
        "statuses": {str(status): n for status, n in sorted(statuses.items())},
        "answers_per_second": round(answered / took, 2),
        "server_ms_per_answer": round(1000 * used / max(answered, 1), 1),  # processor time
        "all": summary(everything),
        **{kind: summary(seconds) for kind, seconds in by_kind.items() if seconds},
        "server_memory_mb": {"before": before, "after": after},
        "server_exit_code": exit_code,
    }


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("-g", "--gallery", required=True)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--before", type=Path, metavar="SRC", help="src of the checkout to compare with")
    parser.add_argument("--rounds", type=int, default=1)
    options = parser.parse_args()
    print(describe_run(), f"· {options.clients} clients", f"· load {os.getloadavg()[0]:.1f}")
    forms = {"after": None} if options.before is None else {"before": options.before, "after": None}
    found: dict[str, list[dict[str, Any]]] = {form: [] for form in forms}
    for round_ in range(options.rounds):
        for form, source in forms.items():
            found[form].append(measure(options, source, round_))
            print(json.dumps({form: found[form][-1]}, indent=2), flush=True)
    if options.before is not None:
        for name, better in (("answers_per_second", "after"), ("server_ms_per_answer", "before")):
            medians = {form: float(np.median([each[name] for each in runs])) for form, runs in found.items()}
            other = {"after": "before", "before": "after"}[better]
            print(f"{name}: {medians}, better by {medians[better] / medians[other]:.2f}")


if __name__ == "__main__":
    main()
