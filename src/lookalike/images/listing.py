"""Listing of the image files of a folder by their suffixes, without opening them."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from lookalike.errors import UnreadableImageError

IMAGE_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"}
    | {".png", ".apng", ".webp", ".gif", ".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm"}
    | {".tif", ".tiff", ".avif", ".avifs", ".heic", ".heif", ".heics", ".hif"}
)
# Folders that systems lay among pictures, with thumbnails and deleted files in them.
SYSTEM_FOLDERS = frozenset({"@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "#recycle"})

_logger = logging.getLogger(__name__)


def list_images(
    folder: str | Path,
    *,
    recursive: bool = True,
    ignore: Sequence[str] = (),
    skipped: list[tuple[str, str]] | None = None,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
) -> list[Path]:
    """The image files in a folder, sorted; each path begins with ``folder`` as it was given.

    Files are chosen by ``suffixes`` (in any case). Hidden files and folders are skipped, those
    of systems (`SYSTEM_FOLDERS`), and whatever matches a pattern of ``ignore``: globs compared with the
    name and with the path below the folder (``"thumbs"``, ``"*.gif"``, ``"2019/*/raw"``). Linked folders
    are followed, each real folder once, but not to folders above this one. A subfolder that may not be
    read is logged and skipped; its path and the reason are appended to ``skipped``. What is no regular
    file, such as a link to nothing, is listed: reading it says what is wrong.

    Raises `UnreadableImageError` if the folder is missing, is a file, or may not be read.
    """
    if isinstance(ignore, str):
        raise TypeError(f"ignore is a sequence of patterns; got the string {ignore!r}, pass [{ignore!r}]")
    root = Path(folder)
    found: list[Path] = []
    pending, links = [root], list[Path]()  # real folders first: a link never hides the folder itself
    seen = _above(root)  # a link to a folder above leads to other folders' images
    while pending or links:
        current = pending.pop() if pending else links.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            with os.scandir(current) as scan:
                entries = [entry for entry in scan if not _skipped(current / entry.name, root, ignore)]
            paths = [current / entry.name for entry in entries]
            folders = [path for path in paths if recursive and path.is_dir()]
            found += [p for p in paths if p.suffix.lower() in suffixes and not p.is_dir()]
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            if current == root:
                raise UnreadableImageError(_why_no_folder(root, error)) from error
            _logger.warning("%s: folder skipped: %s", current, error)
            if skipped is not None:
                skipped.append((str(current), getattr(error, "strerror", None) or str(error)))
            continue
        for folder_below in folders:
            (links if folder_below.is_symlink() else pending).append(folder_below)
    return sorted(found)


def is_left_out(below: str, ignore: Sequence[str]) -> bool:
    """Whether ``list_images`` would skip a file or a folder above it, by its path below the listed one."""
    root, path = Path("/"), Path("/", below)
    return any(_skipped(each, root, ignore) for each in (path, *path.parents[:-1]))


def _above(root: Path) -> set[tuple[int, int]]:
    """Device and number of each folder above ``root``."""
    try:
        statuses = [folder.stat() for folder in root.resolve().parents]
    except (OSError, ValueError, RuntimeError):  # what is wrong is said when the folder is read
        return set()
    return {(status.st_dev, status.st_ino) for status in statuses}


def _skipped(path: Path, root: Path, ignore: Sequence[str]) -> bool:
    below = path.relative_to(root).as_posix()
    return (
        path.name.startswith(".")
        or path.name in SYSTEM_FOLDERS
        or any(fnmatchcase(text, pattern.rstrip("/")) for pattern in ignore for text in (path.name, below))
    )


def _why_no_folder(folder: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{folder}: no such folder"
    if isinstance(error, NotADirectoryError):
        return f"{folder}: a file, not a folder"
    return f"{folder}: the folder cannot be read: {getattr(error, 'strerror', None) or error}"
