"""Decoding of files from strangers in a process of its own, which is ended when it takes too long."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
from typing import Any, final

from lookalike.errors import UnreadableImageError
from lookalike.images.limits import Limits
from lookalike.images.loading import load

_START = "from lookalike.images.guarded import run_guarded; run_guarded()"
_MAX_MEMORY = 4 * 2**30  # bytes of addresses; decoding takes 4 to 12 bytes a pixel


@final
class GuardedDecoder:
    """Tells whether files can be decoded, one at a time; thread-safe.

    The process starts with the first file, and anew after one that crashed it or took longer than
    ``seconds``.
    """

    def __init__(self, *, seconds: float) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def size_of(self, data: bytes, limits: Limits, name: str) -> tuple[int, int]:
        """Decode a file, and return its upright size (H, W) in pixels.

        Raises UnreadableImageError as `load` does, and for a file that takes too long or crashes the
        decoder.
        """
        with self._lock:
            try:
                answer = self._ask((data, limits, name))
            except (OSError, EOFError, pickle.UnpicklingError) as error:
                self._end()
                raise UnreadableImageError(
                    f"{name}: it can't be decoded within {self._seconds:g} seconds and "
                    f"{_MAX_MEMORY / 2**30:g} GiB of memory; save it as a plain JPEG or PNG, and send that"
                ) from error
        if isinstance(answer, UnreadableImageError):
            raise answer
        size: tuple[int, int] = answer
        return size

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._end()

    def _ask(self, task: tuple[bytes, Limits, str]) -> Any:
        """Pickles are safe here: both ends are this module."""
        if self._process is None:
            environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
            self._process = subprocess.Popen(
                [sys.executable, "-c", _START],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment,
            )
            self._receive()  # it is ready: importing does not count
        process = self._process
        assert process.stdin is not None
        ending = threading.Timer(self._seconds, process.kill)
        ending.start()
        try:
            pickle.dump(task, process.stdin, protocol=pickle.HIGHEST_PROTOCOL)
            process.stdin.flush()
            return self._receive()
        finally:
            ending.cancel()

    def _receive(self) -> Any:
        assert self._process is not None and self._process.stdout is not None
        return pickle.load(self._process.stdout)

    def _end(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def run_guarded() -> None:
    """Answer tasks from stdin until it closes: the process that only `GuardedDecoder` starts."""
    _limit_memory()
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)  # what C libraries print must not mix with the answers
        answer: Any = "ready"
        while True:
            pickle.dump(answer, answers)
            answers.flush()
            try:
                data, limits, name = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            try:
                answer = load(data, limits=limits, name=name).original_size
            except UnreadableImageError as error:
                answer = error


def _limit_memory() -> None:
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
