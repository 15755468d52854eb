"""What the machine offers to this process."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

CACHE_VARIABLE = "LOOKALIKE_CACHE"
_ARENA_MAX = -8  # of mallopt, in glibc's malloc.h
_ARENAS = 2


def usable_cores() -> int:
    """Return how many processor cores this process may run on, 1 or more."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS and Windows
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def cache_folder() -> Path:
    """The folder for what can be made again: ``LOOKALIKE_CACHE``, or the user's cache of this system."""
    if given := os.environ.get(CACHE_VARIABLE):
        return Path(given).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local")) / "lookalike"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "lookalike"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lookalike"


def glibc() -> ctypes.CDLL | None:
    """The C library of this process if it is glibc, which keeps the memory that threads have freed."""
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None  # musl has none


def use_few_heaps() -> None:
    """Let threads share two heaps, before they start; elsewhere than with glibc this does nothing.

    Each thread would get its own, up to eight a core, and what was freed stays in it as holes.
    """
    if (library := glibc()) is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)


def return_free_memory() -> None:
    """Give what was freed in the heaps of all threads back to the system; with glibc only."""
    if (library := glibc()) is not None:
        library.malloc_trim(0)
