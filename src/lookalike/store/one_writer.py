"""Who writes to a gallery's table, and what is said if it can't be reached."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager
from pathlib import Path
from typing import final

from filelock import FileLock, Timeout

from lookalike.errors import (
    GalleryError,
    LookalikeError,
    first_line,
    reason_of,
    remedy,
    system_error,
    writing,
)

_LOCK_SECONDS = 120
_PLACE_IN_CODE = re.compile(r", /\S+\.rs:\d+:\d+")  # of LanceDB's messages


def one_writer(uri: str) -> AbstractContextManager[object]:
    """A lock between the processes of one machine; none for an object store, where LanceDB tries again."""
    return Reaching(uri) if "://" in uri else _Writing(uri)


@final
class Reaching(AbstractContextManager[None]):
    """Turns what reading a table fails with into a GalleryError; can be used again.

    Of an object store that is the way to it; of a folder a file that is missing or damaged.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if "://" in self._uri and isinstance(error, RuntimeError | ValueError | OSError):
            if isinstance(error, LookalikeError):
                return
            raise GalleryError(
                f"{self._uri} can't be reached: {first_line(error)[:300]}; look at the connection and the "
                "AWS_ variables, and run it again: what was written is complete"
            ) from error
        if isinstance(error, RuntimeError | OSError) and not system_error(error):
            reason = _PLACE_IN_CODE.sub("", first_line(error))[:300]
            raise GalleryError(
                f"{self._uri} is damaged, a file of its table can't be read ({reason}); put the folder back "
                "from a copy, or index into a new one"
            ) from error


@final
class _Writing(AbstractContextManager[None]):
    """One writer at a time in a folder; what keeps it from writing is a GalleryError."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._lock = FileLock(Path(uri) / ".writing.lock", timeout=_LOCK_SECONDS)

    def __enter__(self) -> None:
        try:
            with writing(self._uri, GalleryError):
                self._lock.acquire()
        except GalleryError as error:
            if not isinstance(error.__cause__, Timeout):
                raise
            raise GalleryError(
                f"{self._uri} is being written by another process, for {_LOCK_SECONDS} seconds now; "
                "wait for it to end"
            ) from error

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self._lock.release()
        if isinstance(error, OSError | RuntimeError) and (cause := system_error(error)):
            raise GalleryError(
                f"{self._uri} can't be written: {reason_of(cause)}; {remedy(cause)}"
            ) from error
