"""One way to files on disk, objects at ``s3://`` and members of tars: is it there, how large, its bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from lookalike.errors import UnreadableImageError
from lookalike.images.object_store import FoundFile, is_remote, opened_object, path_text, remote_status
from lookalike.images.originals import kept, original_bytes, whole
from lookalike.images.tars import member_bytes, split_member, tar_index, tar_status


def status_of(path: str | Path) -> FoundFile:
    """Size and time of what a path names.

    Raises OSError, such as FileNotFoundError, or UnreadableImageError where a store or a tar does not tell.
    """
    text = path_text(path)
    if (parts := _member(text)) is not None:
        tar, name = parts
        members = tar_index(tar).members
        if name not in members:
            raise FileNotFoundError(2, "no such picture in the tar", text)
        offset, size = members[name]
        return FoundFile(text, size, tar_status(tar).mtime_ns, offset)
    if is_remote(text):
        return remote_status(text)
    status = Path(text).stat()
    return FoundFile(text, status.st_size, status.st_mtime_ns)


def is_there(path: str | Path) -> bool:
    """Whether something lies at a path; True also where that can't be told, so that reading it says why."""
    if not is_remote(path):
        if os.path.lexists(path):
            return True
        if _member(str(path)) is None:
            return False
    try:
        status_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError, UnreadableImageError):
        return True
    return True


def is_elsewhere(path: str | Path) -> bool:
    """Whether a path is no file on disk: an object of a store, or a member of a tar."""
    return is_remote(path) or _member(str(path)) is not None


def found_bytes(found: FoundFile, check: Callable[[int], None]) -> bytes:
    """The bytes of an object or a member that was listed, directly from where they lie.

    ``check`` is called with their number before they are read. Raises FileNotFoundError and
    UnreadableImageError.
    """
    if found.offset is not None:
        check(found.size)
        return member_bytes(found)
    with opened_object(found.path) as file:
        check(file.size())
        return whole(file.read(), file.size(), found.path)


def elsewhere_bytes(path: str | Path, check: Callable[[int], None]) -> bytes:
    """The bytes of an object or a member, through the cache if at ``s3://``; raises as ``found_bytes``."""
    text = path_text(path)
    if _member(text) is None:
        return original_bytes(text, check)
    found = status_of(text)
    check(found.size)
    if not is_remote(text):
        return member_bytes(found)
    return kept(f"{found}", lambda: member_bytes(found))


def _member(text: str) -> tuple[str, str] | None:
    return split_member(text) if ".tar/" in text.lower() else None
