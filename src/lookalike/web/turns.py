"""Turns of requests that need the model: a few at once, the next wait for a while, others come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar, final

from fastapi import HTTPException, Request

from lookalike.web.clients import VanishedError, watched
from lookalike.web.limits import WebLimits

_Result = TypeVar("_Result")


@final
class Turns:
    """Runs work in threads, ``max_searches`` at once, so that no request waits without an end."""

    def __init__(self, limits: WebLimits) -> None:
        self._seconds = limits.waiting_seconds
        self._free = asyncio.Semaphore(limits.max_searches)

    def of(self, request: Request) -> Turn:
        """Return the turn of a request."""
        return Turn(request, self._free, self._seconds)


@final
class Turn:
    """What runs the work of one request, once its turn comes."""

    def __init__(self, request: Request, free: asyncio.Semaphore, seconds: float) -> None:
        self._request, self._free, self._seconds = request, free, seconds

    async def __call__(self, work: Callable[[], _Result]) -> _Result:
        """Return the result of some work, done in a thread.

        Raises HTTPException: 503 when the turn does not come in time, and VanishedError when the client went
        away before it came.
        """
        async with watched(self._request) as gone:
            try:
                async with asyncio.timeout(self._seconds):
                    await self._free.acquire()
            except TimeoutError as error:
                detail = "too many searches are waiting; try again in a moment"
                raise HTTPException(503, detail, {"retry-after": "5"}) from error
            try:
                if gone.is_set():
                    raise VanishedError
                return await asyncio.to_thread(work)
            finally:
                self._free.release()
