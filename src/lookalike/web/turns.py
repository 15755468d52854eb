"""Turns of requests that need the model: a few at once, the next wait for a while, others come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, final

from fastapi import HTTPException

from lookalike.web.limits import WebLimits

_Result = TypeVar("_Result")


@final
class Turns:
    """Runs work in threads, ``max_searches`` at once, so that no request waits without an end."""

    def __init__(self, limits: WebLimits) -> None:
        self._seconds = limits.waiting_seconds
        self._free = asyncio.Semaphore(limits.max_searches)

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of some work. Raises HTTPException: 503 when its turn does not come in time."""
        try:
            async with asyncio.timeout(self._seconds):
                await self._free.acquire()
        except TimeoutError as error:
            detail = "too many searches are waiting; try again in a moment"
            raise HTTPException(503, detail, {"retry-after": "5"}) from error
        try:
            return await asyncio.to_thread(work)
        finally:
            self._free.release()
