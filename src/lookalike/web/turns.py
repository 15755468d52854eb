"""Turns of requests that need the model: a few at once, the next wait for a while, others come again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
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
        # of their own: in asyncio's few, uploads would wait behind searches
        self._threads = ThreadPoolExecutor(limits.max_searches, "turn")
        self._were_taken = False

    def of(self, request: Request) -> Turn:
        """Return the turn of a request."""
        self._were_taken = True
        return Turn(request, self._free, self._seconds, self._threads)

    def were_taken(self) -> bool:
        """Whether there were any since this was last asked."""
        were_taken, self._were_taken = self._were_taken, False
        return were_taken

    def close(self) -> None:
        """Start no more work."""
        self._threads.shutdown(wait=False, cancel_futures=True)


@final
class Turn:
    """What runs the work of one request, once its turn comes."""

    def __init__(
        self, request: Request, free: asyncio.Semaphore, seconds: float, threads: ThreadPoolExecutor
    ) -> None:
        self._request, self._free, self._seconds, self._threads = request, free, seconds, threads

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
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(self._threads, copy_context().run, work)
            finally:
                self._free.release()
