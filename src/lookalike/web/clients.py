"""Clients that went away while their request was worked on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar

from fastapi import HTTPException, Request

_GONE: ContextVar[threading.Event | None] = ContextVar("_GONE", default=None)


class VanishedError(HTTPException):
    """The client closed its connection, so nobody waits for the answer."""

    def __init__(self) -> None:
        super().__init__(499, "the client closed its connection")  # nginx's number; nobody reads it


@asynccontextmanager
async def watched(request: Request) -> AsyncIterator[threading.Event]:
    """Note within the block, also for threads started in it, when the client goes away.

    The body of the request must have been read.
    """
    gone = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        gone.set()

    watching = asyncio.create_task(watch())
    token = _GONE.set(gone)
    try:
        yield gone
    finally:
        _GONE.reset(token)
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


def is_client_gone() -> Callable[[], bool]:
    """Whether the client of the request that this thread works for has gone, to be asked later on."""
    gone = _GONE.get()
    return (lambda: False) if gone is None else gone.is_set
