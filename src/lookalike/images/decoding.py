"""Decoding in worker processes, one thread each, while the model runs in the main process.

The workers are child processes connected by pipes. Unlike ``multiprocessing`` they do not run the
caller's script again, so a script without a main guard works. A file that crashes its worker is
reported as unreadable, and the next file gets a new worker.
"""

from __future__ import annotations

import atexit
import contextlib
import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, wait
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import final

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
_FIRST = 32  # files, a batch: until it is full, whoever asks has to wait in any case
_START_SECONDS = 0.4  # that a process takes to start, where the cores are busy
_ENVIRONMENT = {  # of a process
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    # For glibc: the next picture gets the memory of the last; fresh pages are a quarter of the time.
    "MALLOC_MMAP_THRESHOLD_": str(2**25),  # bytes, the most that it takes
    "MALLOC_TRIM_THRESHOLD_": str(2**26),
}


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
_Asked = tuple[Future[DecodedFile], str | FoundFile, Preprocessing | None]


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
    """Up to so many decoding processes; with 0 workers, files are decoded in the calling thread.

    ``at_first`` are started with the first file, by default all. Others follow when the caller, after the
    first batch, has waited in ``result`` for as long as a start takes: each time as many as there are. A
    context manager: the processes end with the block.
    """

    def __init__(self, workers: int, preprocessing: Preprocessing, *, at_first: int | None = None) -> None:
        if workers < 0:
            raise ValueError(f"workers is 0 or more, got {workers}")
        self.workers = workers
        self._preprocessing = preprocessing
        self._at_first = workers if at_first is None else min(at_first, workers)
        self._tasks: SimpleQueue[_Asked | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []  # one for each process
        self._started: list[_Worker] = []
        self._n_given = 0
        self._waited = 0.0  # seconds, since the last start

    def __enter__(self) -> Decoders:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Empty):
            while (asked := self._tasks.get_nowait()) is not None:
                asked[0].cancel()
        for _thread in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()
        for worker in self._started:
            worker.let_go()
        for worker in self._started:
            worker.close()

    def decode(self, file: str | FoundFile) -> Future[DecodedFile]:
        """Hash and decode a file; the future raises UnreadableImageError."""
        return self._submit(file, self._preprocessing)

    def hash(self, file: str | FoundFile) -> Future[DecodedFile]:
        """Hash a file without decoding it."""
        return self._submit(file, None)

    def result(self, future: Future[DecodedFile]) -> DecodedFile:
        """What a future of this pool holds; raises as it does. Waiting may start more processes."""
        if not future.done() and self._n_given >= _FIRST:
            start = time.monotonic()
            wait([future])
            self._waited += time.monotonic() - start
            if self._waited >= _START_SECONDS:
                self._start(len(self._threads))
        self._n_given += 1
        return future.result()

    def _submit(self, file: str | FoundFile, preprocessing: Preprocessing | None) -> Future[DecodedFile]:
        if self.workers == 0:
            return _done(lambda: decode_file(file, preprocessing))
        if not self._threads:
            self._start(self._at_first)
        future: Future[DecodedFile] = Future()
        self._tasks.put((future, file, preprocessing))
        return future

    def _start(self, n: int) -> None:
        self._waited = 0.0
        for _ in range(min(n, self.workers - len(self._threads))):
            self._threads.append(threading.Thread(target=self._serve, name="decoder", daemon=True))
            self._threads[-1].start()

    def _serve(self) -> None:
        """Give the tasks of the queue to one process, and to another one where a file crashed it."""
        worker: _Worker | None = None
        while (asked := self._tasks.get()) is not None:
            future, file, preprocessing = asked
            if not future.set_running_or_notify_cancel():
                continue
            try:
                if worker is None:
                    worker = _take_worker()
                    self._started.append(worker)
                future.set_result(worker.decoded(file, preprocessing))
            except _CrashError as crash:
                worker = None  # the next file gets a new process
                future.set_exception(UnreadableImageError(str(crash)))
            except BaseException as error:  # it belongs to who asks for the result
                future.set_exception(error)


def start_ahead() -> None:
    """Start a decoding process now, for the first `Decoders` of this process: it is ready when they come."""
    if not _ahead:
        _ahead.append(_Worker())
        atexit.register(_end_unused)


def _take_worker() -> _Worker:
    """The process started ahead, unless stores or caches were named otherwise since; or a new one."""
    with contextlib.suppress(IndexError):
        worker = _ahead.pop()
        if worker.settings == _settings_of_environment():
            return worker
        worker.close()
    return _Worker()


def _settings_of_environment() -> dict[str, str]:
    """What the environment says of stores and caches, which a process reads once."""
    return {name: value for name, value in os.environ.items() if name.startswith(("AWS_", "LOOKALIKE_"))}


def _end_unused() -> None:
    while _ahead:
        _ahead.pop().close()


def run_worker() -> None:
    """Answer tasks from stdin until it closes: the worker process, which only `Decoders` starts."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides when to stop
    with os.fdopen(os.dup(1), "wb") as answers:
        _silence_libraries()
        while True:
            try:
                file, preprocessing, settings = pickle.load(sys.stdin.buffer)
            except EOFError:
                os._exit(0)  # nothing is left to do, and the interpreter's own end takes 50 ms
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


class _CrashError(Exception):
    """A decoding process has ended instead of answering."""


class _Worker:
    """A child process. Pickles are safe here: both ends are this module."""

    def __init__(self) -> None:
        self.settings = _settings_of_environment()
        environment = dict(os.environ, PYTHONPATH=os.pathsep.join(p for p in sys.path if p))
        environment.update(_ENVIRONMENT)
        self._process = subprocess.Popen(
            [sys.executable, "-c", _START],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def decoded(self, file: str | FoundFile, preprocessing: Preprocessing | None) -> DecodedFile:
        """`decode_file` in that process; raises _CrashError where it ends on the file."""
        assert self._process.stdin is not None and self._process.stdout is not None
        task: _Task = file, preprocessing, _Settings.here()
        try:
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()
            answer: DecodedFile | UnreadableImageError = pickle.load(self._process.stdout)
        except (OSError, EOFError, pickle.UnpicklingError) as error:
            path = file.path if isinstance(file, FoundFile) else file
            raise _CrashError(f"{path}: the decoding process crashed on this file") from error
        if isinstance(answer, UnreadableImageError):
            raise answer
        return answer

    def let_go(self) -> None:
        """Tell the process to end."""
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()

    def close(self) -> None:
        """End the process, and wait for its end."""
        self.let_go()
        self._process.wait()


def _done(work: Callable[[], DecodedFile]) -> Future[DecodedFile]:
    future: Future[DecodedFile] = Future()
    try:
        future.set_result(work())
    except UnreadableImageError as error:
        future.set_exception(error)
    return future


_ahead: list[_Worker] = []  # processes that no `Decoders` has taken yet
