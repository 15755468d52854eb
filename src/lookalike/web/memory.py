"""Memory that requests have freed goes back to the system; glibc keeps it otherwise."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lookalike.types.machine import glibc

_SECONDS = 5.0


async def returning_memory(was_busy: Callable[[], bool]) -> None:
    """Return free memory to the system, every few seconds in which there was work; runs until canceled."""
    library = glibc()
    while library is not None:
        await asyncio.sleep(_SECONDS)
        if was_busy():
            await asyncio.to_thread(library.malloc_trim, 0)
