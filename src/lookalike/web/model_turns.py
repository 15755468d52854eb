"""The model of a gallery among concurrent requests: pictures that wait for it share one forward pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import final

from torch import Tensor

from lookalike.models.embedder import Embedder
from lookalike.models.runner import batched_shares
from lookalike.types import Reading, Shares
from lookalike.web.clients import VanishedError, is_client_gone
from lookalike.web.limits import WebLimits


@final
class ModelLock:
    """A lock that knows whether the calling thread holds it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder: int | None = None

    @contextmanager
    def held(self) -> Iterator[None]:
        """Wait for the model and hold it, unless this thread holds it already."""
        if self.is_mine:
            yield
            return
        with self._lock:
            self._holder = threading.get_ident()
            try:
                yield
            finally:
                self._holder = None

    @property
    def is_mine(self) -> bool:
        """Whether the calling thread holds it."""
        return self._holder == threading.get_ident()


class _Waiting:
    """A picture that waits for the model, with the question whether its client still does."""

    def __init__(self, reading: Reading) -> None:
        self.reading = reading
        self.is_gone: Callable[[], bool] = is_client_gone()
        self.shares: Future[Shares] = Future()


@final
class GatheringRunner:
    """Runs pictures through the model, those that wait for it at the same time in one forward pass.

    Of the threads that wait, one at a time leads: it waits for the model, takes the first ``max_batch``
    pictures, runs them and hands the shares out. While the model works on one batch, the next gathers. A
    leader waits ``gathering_seconds`` more only for pictures that are expected: requests that are still
    reading theirs. A picture that fails does so alone, and one whose client is gone is left out. A thread
    that holds the model itself runs its pictures at once.
    """

    def __init__(self, embedder: Embedder, model: ModelLock, limits: WebLimits) -> None:
        self._embedder, self._model, self._limits = embedder, model, limits
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._n_expected = 0
        self._has_leader = False

    @contextmanager
    def expecting(self) -> Iterator[None]:
        """A request within the block is likely to send a picture soon."""
        with self._changed:
            self._n_expected += 1
        try:
            yield
        finally:
            with self._changed:
                self._n_expected -= 1
                self._changed.notify_all()

    def unit(self, reading: Reading) -> Tensor:
        """The unit embedding (D,) of one picture, by itself; raises as ``Embedder.embed_pixels``."""
        with self._model.held():
            return self._embedder.embed_pixels([reading.pixels], names=[reading.picture.name])[0]

    def shares(self, readings: Sequence[Reading]) -> list[Shares]:
        """The shares of each picture; raises as ``Embedder.shares``, and VanishedError."""
        if self._model.is_mine:
            return batched_shares(self._embedder, readings)
        own = [_Waiting(reading) for reading in readings]
        with self._changed:
            self._waiting += own
            self._changed.notify_all()
        while not self._is_done_or_leading(own):
            try:
                self._lead()
            finally:
                with self._changed:
                    self._has_leader = False
                    self._changed.notify_all()
        return [each.shares.result() for each in own]

    def _is_done_or_leading(self, own: Sequence[_Waiting]) -> bool:
        """Wait until these pictures are done (True), or until this thread has to lead (False)."""

        def is_done() -> bool:
            return all(each.shares.done() for each in own)

        with self._changed:
            self._changed.wait_for(lambda: is_done() or not self._has_leader)
            if is_done():
                return True
            self._has_leader = True
            return False

    def _lead(self) -> None:
        with self._model.held():
            batch = self._gathered()
            for each in [one for one in batch if one.is_gone()]:
                each.shares.set_exception(VanishedError())
                batch.remove(each)
            if batch:
                self._run(batch)

    def _gathered(self) -> list[_Waiting]:
        """The next batch, after a short wait for pictures that are expected."""
        until = time.monotonic() + self._limits.gathering_seconds
        most = self._limits.max_batch
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._waiting) >= most or not self._n_expected,
                timeout=max(0.0, until - time.monotonic()),
            )
            batch, self._waiting = self._waiting[:most], self._waiting[most:]
        return batch

    def _run(self, batch: Sequence[_Waiting]) -> None:
        try:
            found = batched_shares(self._embedder, [each.reading for each in batch])
        except BaseException as error:
            if len(batch) == 1:
                batch[0].shares.set_exception(error)
                return
            for each in batch:  # what fails, fails alone
                self._run([each])
            return
        for each, shares in zip(batch, found, strict=True):
            each.shares.set_result(shares)
