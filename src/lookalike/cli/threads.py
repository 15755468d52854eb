"""How many threads a command computes with: as many as cores are free, so that a busy machine stalls none."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")  # of a container: microseconds of all cores per period, or "max"
_TRAINING = ("train", "train-reranker")  # repeat bit for bit only with the same number of threads


def choose_threads(arguments: list[str]) -> None:
    """Set the number of threads from the cores that are free now, unless the user or training decides it.

    Threads of one product wait for each other: where other programs hold the cores, two threads can be
    tens of times slower than one.
    """
    # waiting OpenMP threads should sleep: spinning, they would slow down image decoding
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not set(_TRAINING) & set(arguments[:1]):
        os.environ.setdefault("OMP_NUM_THREADS", str(free_cores()))


def free_cores() -> int:
    """Return the cores that this process may use less those that were busy in the last minute, at least 1."""
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    busy = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    return max(1, min(_allowed(), round(cores - busy)))


def _allowed() -> int:
    """Cores that the container may use, rounded up; as good as unlimited where nothing says so."""
    try:
        quota, period = _QUOTA.read_text().split()
        return max(1, -(-int(quota) // int(period)))
    except (OSError, ValueError):  # no container, or the quota "max"
        return sys.maxsize
