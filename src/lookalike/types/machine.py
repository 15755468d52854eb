"""What the machine offers to this process."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Return how many processor cores this process may run on, 1 or more."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
