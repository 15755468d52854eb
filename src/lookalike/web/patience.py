"""The server's HTTP protocol with an end to its patience."""

from __future__ import annotations

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

_HEAD_SECONDS = 10  # for the head of a request to arrive whole


class PatientProtocol(H11Protocol):
    """Closes a connection that does not finish the head of a request in time.

    The time of bodies is bounded by ``SecurityMiddleware``, idle connections by uvicorn.
    """

    _ending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first request."""
        super().connection_made(transport)
        self._ending = self.loop.call_later(_HEAD_SECONDS, transport.close)

    def handle_events(self) -> None:
        """Take what arrived, after data and after each answer; the rest of a head is waited for a while."""
        super().handle_events()
        is_waiting = self.conn.their_state is h11.IDLE and bool(self.conn.trailing_data[0])
        if not is_waiting:
            self._stop_waiting()
        elif self._ending is None:
            self._ending = self.loop.call_later(_HEAD_SECONDS, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_waiting()
        super().connection_lost(exc)

    def _stop_waiting(self) -> None:
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
