"""Decoding in worker processes, one thread each, while the model runs in the main process.

The workers are child processes connected by pipes. Unlike ``multiprocessing`` they do not run the
caller's script again, so a script without a main guard works. A file that crashes its worker is
reported as unreadable, and the next file gets a new worker.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile

from lookalike.errors import UnreadableImageError
from lookalike.images.limits import Limits, default_limits, set_limits
from lookalike.images.loading import ImageSource, file_bytes, listed_bytes
from lookalike.images.object_store import FoundFile
from lookalike.images.preparing import read
from lookalike.images.preprocessing import Preprocessing
from lookalike.images.sources import is_elsewhere, status_of
from lookalike.types import Geometry

_START = "from lookalike.images.decoding import run_worker; run_worker()"
_AHEAD = 16  # files a worker that are decoded before they are asked for
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class DecodedFile:
    """An image file that was read: its hash and, if asked for, its pixels."""

    path: str
    hash: str  # SHA-256 of the bytes, hexadecimal
    size: int  # bytes
    mtime_ns: int  # nanoseconds since 1970, from before the reading
    pixels: NDArray[np.uint8] | None  # (H, W, 3) RGB as the network will see it; None: only hashed
    geometry: Geometry | None


@dataclass(frozen=True)
class _Settings:
    """Settings of this process that decide what is read, and how; a worker takes them over."""

    limits: Limits
    max_image_pixels: int | None  # Pillow's
    load_truncated: bool  # Pillow's

    @classmethod
    def here(cls) -> _Settings:
        return cls(default_limits(), Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES)

    def apply(self) -> None:
        set_limits(self.limits)
        Image.MAX_IMAGE_PIXELS = self.max_image_pixels
        ImageFile.LOAD_TRUNCATED_IMAGES = self.load_truncated


_Task = tuple[str | FoundFile, Preprocessing | None, _Settings]


def decode_file(file: str | FoundFile, preprocessing: Preprocessing | None) -> DecodedFile:
    """Read a file once, hash it and, if the preprocessing is given, decode it.

    Raises UnreadableImageError.
    """
    path, mtime_ns, data = _read(file)
    digest = hashlib.sha256(data).hexdigest()
    if preprocessing is None:
        return DecodedFile(path, digest, len(data), mtime_ns, None, None)
    reading = read(data, preprocessing, name=path)
    return DecodedFile(path, digest, len(data), mtime_ns, reading.pixels, reading.geometry)


def _read(file: str | FoundFile) -> tuple[str, int, bytes]:
    """Path, time and bytes; the time is from before the reading, so that a change meanwhile is found."""
    if isinstance(file, FoundFile):
        return file.path, file.mtime_ns, listed_bytes(file)
    try:
        found = status_of(file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error).removeprefix(f"{file}: ")
        raise UnreadableImageError(f"{file}: {reason}") from error
    data = listed_bytes(found) if is_elsewhere(file) else file_bytes(file)
    return file, found.mtime_ns, data


def read_all(
    sources: Iterable[ImageSource], preprocessing: Preprocessing, *, workers: int = 0
) -> Generator[NDArray[np.uint8], None, None]:
    """Yield the pixels (H, W, 3) of each source in order, as `read` returns them.

    ``workers`` processes decode the files among the sources ahead of the consumer; without any,
    each is decoded when it is asked for. Raises as `read` does, at the first source that fails.
    """
    with Decoders(workers, preprocessing) as decoders:
        waiting: deque[Future[DecodedFile] | ImageSource] = deque()
        for source in sources:
            is_file = workers > 0 and isinstance(source, str | Path)
            waiting.append(decoders.decode(str(source)) if is_file else source)
            if len(waiting) > workers * _AHEAD:
                yield _pixels_of(waiting.popleft(), preprocessing)
        while waiting:
            yield _pixels_of(waiting.popleft(), preprocessing)


def _pixels_of(item: Future[DecodedFile] | ImageSource, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    if not isinstance(item, Future):
        return read(item, preprocessing).pixels
    pixels = item.result().pixels
    assert pixels is not None
    return pixels


@final
class Decoders:
    """A pool of decoding processes; with 0 workers, files are decoded in the calling thread.

    A context manager: the processes end with the block.
    """

    def __init__(self, workers: int, preprocessing: Preprocessing) -> None:
        if workers < 0:
            raise ValueError(f"workers is 0 or more, got {workers}")
        self.workers = workers
        self._preprocessing = preprocessing
        self._own = threading.local()
        self._started: list[_Worker] = []
        self._threads = ThreadPoolExecutor(workers, "decoder") if workers else None

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)
        for worker in self._started:
            worker.close()

    def decode(self, file: str | FoundFile) -> Future[DecodedFile]:
        """Hash and decode a file; the future raises UnreadableImageError."""
        return self._submit(file, self._preprocessing)

    def hash(self, file: str | FoundFile) -> Future[DecodedFile]:
        """Hash a file without decoding it."""
        return self._submit(file, None)

    def _submit(self, file: str | FoundFile, preprocessing: Preprocessing | None) -> Future[DecodedFile]:
        if self._threads is not None:
            return self._threads.submit(self._ask, file, preprocessing)
        return _done(lambda: decode_file(file, preprocessing))

    def _ask(self, file: str | FoundFile, preprocessing: Preprocessing | None) -> DecodedFile:
        worker: _Worker | None = getattr(self._own, "worker", None)
        if worker is None:
            worker = self._own.worker = _Worker()
            self._started.append(worker)
        try:
            answer = worker.ask((file, preprocessing, _Settings.here()))
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            self._own.worker = None  # the next file gets a new process
            path = file.path if isinstance(file, FoundFile) else file
            raise UnreadableImageError(f"{path}: the decoding process crashed on this file") from error
        if isinstance(answer, UnreadableImageError):
            raise answer
        decoded: DecodedFile = answer
        return decoded


def run_worker() -> None:
    """Answer tasks from stdin until it closes: the worker process, which only `Decoders` starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
    with os.fdopen(os.dup(1), "wb") as answers:
        _silence_libraries()
        while True:
            try:
                file, preprocessing, settings = pickle.load(sys.stdin.buffer)
            except EOFError:
                return
            answer: DecodedFile | UnreadableImageError
            try:
                settings.apply()
                answer = decode_file(file, preprocessing)
            except UnreadableImageError as error:
                answer = error
            try:
                pickle.dump(answer, answers, protocol=pickle.HIGHEST_PROTOCOL)
                answers.flush()
            except BrokenPipeError:
                return


def _silence_libraries() -> None:
    """Discard what C libraries print, so that it mixes neither with answers nor with a progress bar.

    libtiff writes several lines for one damaged file. Python's own stderr, for tracebacks, stays.
    """
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)
        os.dup2(nowhere.fileno(), 2)


class _Worker:
    """A child process. Pickles are safe here: both ends are this module."""

    def __init__(self) -> None:
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
        environment.update(dict.fromkeys(_THREADS, "1"))
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def ask(self, task: _Task) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        pickle.dump(task, self._process.stdin)
        self._process.stdin.flush()
        return pickle.load(self._process.stdout)

    def close(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        self._process.wait()


def _done(work: Callable[[], DecodedFile]) -> Future[DecodedFile]:
    future: Future[DecodedFile] = Future()
    try:
        future.set_result(work())
    except UnreadableImageError as error:
        future.set_exception(error)
    return future
