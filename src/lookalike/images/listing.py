"""Listing of the image files of a folder by their suffixes, without opening them."""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from heapq import merge
from operator import itemgetter
from pathlib import Path

from lookalike.errors import UnreadableImageError
from lookalike.types.packed_texts import PackedTexts

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
) -> list[Path]:
    """The image files in a folder, sorted; each path begins with ``folder`` as it was given.

    Files are chosen by suffix (`IMAGE_SUFFIXES`, any case). Hidden files and folders are skipped, those
    of systems (`SYSTEM_FOLDERS`), and whatever matches a pattern of ``ignore``: globs compared with the
    name and with the path below the folder (``"thumbs"``, ``"*.gif"``, ``"2019/*/raw"``). Linked folders
    are followed, each real folder once, but not to folders above this one. A subfolder that may not be
    read is logged and skipped; its path and the reason are appended to ``skipped``. What is no regular
    file, such as a link to nothing, is listed: reading it says what is wrong.

    Raises `UnreadableImageError` if the folder is missing, is a file, or may not be read.
    """
    return [Path(path) for path in iter_images(folder, recursive=recursive, ignore=ignore, skipped=skipped)]


def iter_images(
    folder: str | Path,
    *,
    recursive: bool = True,
    ignore: Sequence[str] = (),
    skipped: list[tuple[str, str]] | None = None,
    suffixes: Collection[str] = IMAGE_SUFFIXES,
) -> Iterator[str]:
    """Yield what `list_images` returns, as text: of a million files only compressed names are held.

    ``suffixes`` are those of the files, in small letters. All folders are read before the first path.
    """
    if isinstance(ignore, str):
        raise TypeError(f"ignore is a sequence of patterns; got the string {ignore!r}, pass [{ignore!r}]")
    root = Path(folder)
    found = _found_below(root, recursive, ignore, skipped, suffixes)
    return _in_order(root, found)


@dataclass(frozen=True)
class _Found:
    """What is looked at in one folder: names, sorted."""

    images: PackedTexts
    folders: list[str]


def _found_below(
    root: Path,
    recursive: bool,
    ignore: Sequence[str],
    skipped: list[tuple[str, str]] | None,
    suffixes: Collection[str],
) -> dict[Path, _Found]:
    found: dict[Path, _Found] = {}
    pending, links = [root], list[Path]()  # real folders first: a link never hides the folder itself
    seen = _above(root)  # a link to a folder above leads to other folders' images
    while pending or links:
        current = pending.pop() if pending else links.pop()
        try:
            status = current.stat()
            if (status.st_dev, status.st_ino) in seen:
                continue
            seen.add((status.st_dev, status.st_ino))
            found[current] = below = _found_in(current, root, ignore, suffixes)
        except (OSError, ValueError) as error:  # ValueError: a NUL in the path
            if current == root:
                raise UnreadableImageError(_why_no_folder(root, error)) from error
            _logger.warning("%s: folder skipped: %s", current, error)
            if skipped is not None:
                skipped.append((str(current), getattr(error, "strerror", None) or str(error)))
            continue
        for path in (current / name for name in below.folders if recursive):
            (links if path.is_symlink() else pending).append(path)
    return found


def _found_in(folder: Path, root: Path, ignore: Sequence[str], suffixes: Collection[str]) -> _Found:
    images: list[str] = []
    folders: list[str] = []
    with os.scandir(folder) as scan:
        for entry in scan:
            if _skipped(folder, entry.name, root, ignore):
                continue
            if _is_folder(entry, folder):
                folders.append(entry.name)
            elif Path(entry.name).suffix.lower() in suffixes:
                images.append(entry.name)
    images.sort()
    return _Found(PackedTexts(images), sorted(folders))


def _is_folder(entry: os.DirEntry[str], folder: Path) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # of a link
        return (folder / entry.name).is_dir()


def _in_order(folder: Path, found: Mapping[Path, _Found]) -> Iterator[str]:
    """The paths below a folder, in the order of their names, folder by folder."""
    pending = [_names(folder, found)]  # of folders that lie in one another
    while pending:
        name = next(pending[-1], None)
        if name is None:
            pending.pop()
        elif isinstance(name, Path):
            pending.append(_names(name, found))
        else:
            yield name


def _names(folder: Path, found: Mapping[Path, _Found]) -> Iterator[str | Path]:
    """Paths of a folder's images, and its folders in between, sorted."""
    here = found[folder]
    paths = (folder / name for name in here.folders)
    folders: Iterator[tuple[str, str | Path]] = ((path.name, path) for path in paths if path in found)
    images: Iterator[tuple[str, str | Path]] = ((name, str(folder / name)) for name in here.images)
    return (each for _, each in merge(folders, images, key=itemgetter(0)))


def is_left_out(below: str, ignore: Sequence[str]) -> bool:
    """Whether ``list_images`` would skip a file or a folder above it, by its path below the listed one."""
    root, path = Path("/"), Path("/", below)
    return any(_skipped(each.parent, each.name, root, ignore) for each in (path, *path.parents[:-1]))


def _above(root: Path) -> set[tuple[int, int]]:
    """Device and number of each folder above ``root``."""
    try:
        statuses = [folder.stat() for folder in root.resolve().parents]
    except (OSError, ValueError, RuntimeError):  # what is wrong is said when the folder is read
        return set()
    return {(status.st_dev, status.st_ino) for status in statuses}


def _skipped(folder: Path, name: str, root: Path, ignore: Sequence[str]) -> bool:
    if name.startswith(".") or name in SYSTEM_FOLDERS:
        return True
    if not ignore:
        return False
    below = (folder / name).relative_to(root).as_posix()
    return any(fnmatchcase(text, pattern.rstrip("/")) for pattern in ignore for text in (name, below))


def _why_no_folder(folder: Path, error: Exception) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{folder}: no such folder"
    if isinstance(error, NotADirectoryError):
        return f"{folder}: a file, not a folder"
    return f"{folder}: the folder cannot be read: {getattr(error, 'strerror', None) or error}"
