"""What was read from object stores, in one small folder of the user's cache; lists of tars' members too."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

from lookalike.errors import UnreadableImageError
from lookalike.images.object_store import opened_object
from lookalike.types.machine import cache_folder

SIZE_VARIABLE = "LOOKALIKE_CACHE_BYTES"
_FOLDER = "originals"
_BYTES = 2**30
_PART = 8  # of the folder that one file may take, and that is written until the oldest files are looked for
_DIGEST = 16  # bytes before the content, by which a file is known to be whole
_MODE = 0o700  # pictures may be private

_written = 0  # bytes, by this process since it last looked for old files


def kept(name: str, read: Callable[[], bytes]) -> bytes:
    """The bytes that ``name`` stands for: from the folder, or else by ``read``, and then kept there.

    A name must change with what it stands for. What can't be kept, as on a full disk, is read each time.
    """
    path = cache_folder() / _FOLDER / blake2b(name.encode(), digest_size=20).hexdigest()
    with contextlib.suppress(OSError):
        content = path.read_bytes()
        if blake2b(content[_DIGEST:], digest_size=_DIGEST).digest() == content[:_DIGEST]:
            os.utime(path)
            return content[_DIGEST:]
    data = read()
    if len(data) <= _most_bytes() // _PART:
        with contextlib.suppress(OSError):
            _keep(path, data)
    return data


def original_bytes(uri: str, check: Callable[[int], None]) -> bytes:
    """The bytes of an object, through the folder; one request asks whether it is still what lies there.

    ``check`` is called with their number before they are read. Raises as ``opened_object``.
    """
    with opened_object(uri) as file:
        check(file.size())
        state = sorted((file.metadata() or {}).items())
        return kept(f"{uri}\n{state}", lambda: whole(file.read(), file.size(), uri))


def whole(data: bytes, n_bytes: int, path: str) -> bytes:
    """Return the data. Raises UnreadableImageError for fewer bytes than there should be."""
    if len(data) < n_bytes:
        raise UnreadableImageError(f"{path}: only {len(data):,} of {n_bytes:,} bytes came; try again")
    return data


def _most_bytes() -> int:
    given = os.environ.get(SIZE_VARIABLE, "")
    return int(given) if given.isdecimal() else _BYTES


def _keep(path: Path, data: bytes) -> None:
    """Write a file whole or not at all, and now and then drop those that were not asked for longest."""
    global _written
    path.parent.mkdir(mode=_MODE, parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", delete=False) as file:
        beside = Path(file.name)
        try:
            file.write(blake2b(data, digest_size=_DIGEST).digest() + data)
            file.close()
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    _written += len(data)
    if _written > _most_bytes() // _PART:
        _written = 0
        _drop_oldest(path.parent)


def _drop_oldest(folder: Path) -> None:
    files = [(file.stat(), file) for file in folder.iterdir()]
    files.sort(key=lambda each: each[0].st_mtime_ns)
    excess = sum(status.st_size for status, _ in files) - _most_bytes()
    for status, file in files:
        if excess <= 0:
            return
        file.unlink(missing_ok=True)
        excess -= status.st_size
