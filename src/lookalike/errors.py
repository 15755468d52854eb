"""Every error that lookalike raises on purpose.

LookalikeError
├── UnreadableImageError      a file that is no image, is damaged, or is beyond the limits
│   └── StoreUnreachableError an object store that does not answer, so that no picture of it can be read
├── UnknownNameError          a name (of a pooling, a method, ...) that does not exist; lists those that do
│   └── UnknownModelError     a model name, folder or file that does not exist or can't be fetched
├── CheckpointError           a weights file whose layout or sizes are not what was expected
├── ModelOutputError          a model that gives NaN or infinity for an image
├── DeviceMemoryError         a device without the memory for a single image
├── UnsupportedMethodError    an explanation method that does not fit the model
├── DatasetError              labeled images that are missing, mislaid or unfit for the purpose
├── TrainingError             a training that can't start, go on or be saved
│   └── TrainingInterruptedError  a training that was asked to stop; it can be resumed
└── GalleryError              a gallery that is missing, damaged or can't be written
    ├── ModelMismatchError    a gallery whose embeddings another model made
    └── FilterError           a filter on metadata that can't be understood

Wrong arguments (a negative k, a box outside the image) are ``ValueError``. A message is one
sentence or two: what was expected, what came, what to do.
"""

from __future__ import annotations

import difflib
import errno
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

_REMEDIES = {
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space, the quota is used up",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f)",
    errno.EMFILE: "raise the limit on open files (ulimit -n)",
    errno.ENFILE: "close other programs, the system has too many files open",
    errno.ENOMEM: "free some memory",
}


class LookalikeError(Exception):
    """Parent of all errors that the command line and the server turn into one sentence."""


class UnreadableImageError(LookalikeError):
    """An image file could not be read; the message names the file and the cause."""


class StoreUnreachableError(UnreadableImageError):
    """An object store does not answer; trying the next picture would take as long."""


class UnknownNameError(LookalikeError, ValueError):
    """A name given for an option does not exist; the message lists the names that do."""


class UnknownModelError(UnknownNameError):
    """No bundled model, timm model, folder or file has the name, or it can't be fetched."""


class CheckpointError(LookalikeError):
    """A checkpoint's keys or sizes are not those of the layout it should have."""


class ModelOutputError(LookalikeError):
    """A model gives NaN or infinity for an image; the message names both."""


class DeviceMemoryError(LookalikeError):
    """The memory of a device does not suffice for a single image; the message says what to do."""


class UnsupportedMethodError(LookalikeError):
    """An explanation method cannot be applied to this model; the message says why."""


class DatasetError(LookalikeError):
    """A dataset's files, lists or labels are not as its layout or the purpose needs them."""


class TrainingError(LookalikeError):
    """A training can't start, go on or be saved; the message says why."""


class TrainingInterruptedError(TrainingError):
    """A training was interrupted (Ctrl-C) and can be resumed; ``step`` is where, None if not known."""

    def __init__(self, message: str, step: int | None) -> None:
        super().__init__(message)
        self.step = step


class GalleryError(LookalikeError):
    """A gallery is missing, damaged, of another format, or can't be written."""


class ModelMismatchError(GalleryError):
    """The model is not the one that made the gallery's embeddings; the message names both."""


class FilterError(GalleryError):
    """A filter on metadata is not of the form that filters have."""


def check_name(kind: str, name: object, known: Iterable[str]) -> None:
    """Raise UnknownNameError unless ``name`` is one of the known names of its kind.

    >>> check_name("pooling", "maen", ["mean", "max"])
    Traceback (most recent call last):
    lookalike.errors.UnknownNameError: pooling is one of mean, max; got 'maen' (did you mean 'mean'?)
    """
    names = list(known)
    if name not in names:
        raise unknown_name(kind, name, names)


def unknown_name(kind: str, name: object, known: Iterable[str]) -> UnknownNameError:
    """The error for a name that is none of the known ones, with the closest of them as a hint."""
    names = list(known)
    near = difflib.get_close_matches(str(name), names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return UnknownNameError(f"{kind} is one of {', '.join(names)}; got {name!r}{hint}")


def first_line(error: BaseException) -> str:
    """The first line of another library's error message, to be quoted in one of ours.

    The name of the error's class where it has no message.

    >>> first_line(RuntimeError("sizes differ\\n  at layer 3"))
    'sizes differ'
    """
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextmanager
def writing(path: str | Path, error: type[LookalikeError] = LookalikeError) -> Iterator[None]:
    """Turn an OSError inside the block into ``error``, one sentence that names the path."""
    try:
        yield
    except OSError as cause:
        raise error(f"{path} can't be written: {reason_of(cause)}; {remedy(cause)}") from cause


@contextmanager
def replacing(
    path: str | Path, error: type[LookalikeError] = LookalikeError, *, make_folder: bool = False
) -> Iterator[Path]:
    """A file beside ``path`` to write to; it takes the place of ``path`` when the block ends well.

    Where the block fails, ``path`` stays as it was. An OSError becomes ``error``, as by ``writing``.
    What is no regular file, such as ``/dev/stdout``, is written directly.
    """
    target = Path(path)
    with writing(path, error):
        target = target.resolve() if target.is_symlink() else target
        if make_folder:
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and not target.is_file():
            yield target
            return
        beside = target.with_name(f".{os.getpid()}-{target.name}"[-200:])
        try:
            yield beside
            if target.exists():
                shutil.copymode(target, beside)
            with beside.open("rb+") as file:
                os.fsync(file.fileno())
            beside.replace(target)
        finally:
            beside.unlink(missing_ok=True)


def reason_of(cause: OSError) -> str:
    """What the system says of an error, without its number and path.

    >>> reason_of(PermissionError(13, "Permission denied", "/photos"))
    'Permission denied'
    """
    return cause.strerror or first_line(cause)


def system_error(error: BaseException) -> OSError | None:
    """The error of the system that an error is, or quotes by its number as Rust's libraries do.

    >>> system_error(RuntimeError("lance: No space left on device (os error 28)"))
    OSError(28, 'No space left on device')
    """
    if isinstance(error, OSError) and error.errno:
        return error
    found = re.search(r"\(os error (\d+)\)|\bOs \{ code: (\d+)", str(error))
    if found is None:
        return None
    number = int(found[1] or found[2])
    return OSError(number, os.strerror(number))


def lack_of_system(error: BaseException) -> OSError | None:
    """What the system lacked, such as memory or room for another open file, where that caused an error.

    None where the error is another one. Its causes are looked at too.
    """
    seen: BaseException | None = error
    while seen is not None:
        found = system_error(seen)
        if found is not None and found.errno in _REMEDIES:
            return found
        seen = seen.__cause__ or seen.__context__
    return None


@contextmanager
def opening(what: object) -> Iterator[None]:
    """Say of an error inside the block that the system lacks something, where that is its cause.

    What can't be opened for that is not to be called damaged, or of another format.
    """
    try:
        yield
    except (LookalikeError, OSError) as error:
        cause = lack_of_system(error)
        if cause is None:
            raise
        raise LookalikeError(f"{what} can't be opened: {reason_of(cause)}; {remedy(cause)}") from error


def remedy(cause: OSError) -> str:
    """What to do about an error of the system on writing."""
    return _REMEDIES.get(cause.errno or 0, "choose another place")


def system_sentence(cause: OSError) -> str:
    """An error of the system as one sentence that names the file and what to do.

    >>> system_sentence(OSError(28, "No space left on device", "/photos/a.csv"))
    '/photos/a.csv: No space left on device; free some space'
    """
    where = f"{cause.filename}: " if cause.filename is not None else ""
    remedy = _REMEDIES.get(cause.errno or 0, "check the path, its permissions and the disk")
    return f"{where}{reason_of(cause)}; {remedy}"
