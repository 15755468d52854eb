"""Memory of a server with many threads goes back to the system: glibc keeps it for each of them otherwise."""

from __future__ import annotations

import asyncio
import ctypes
import sys
from collections.abc import Callable

_ARENA_MAX = -8  # of mallopt, in glibc's malloc.h
_ARENAS = 2
_SECONDS = 5.0


def use_few_arenas() -> None:
    """Let threads share two heaps, before they start; elsewhere than with glibc this does nothing.

    Each thread would get its own, up to eight a core, and tensors that went stay in it as holes.
    """
    if (library := _glibc()) is not None:
        library.mallopt(_ARENA_MAX, _ARENAS)


async def returning_memory(was_busy: Callable[[], bool]) -> None:
    """Return free memory to the system, every few seconds in which there was work; runs until canceled."""
    library = _glibc()
    while library is not None:
        await asyncio.sleep(_SECONDS)
        if was_busy():
            await asyncio.to_thread(library.malloc_trim, 0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    library = ctypes.CDLL(None)
    return library if hasattr(library, "malloc_trim") else None  # musl has none
