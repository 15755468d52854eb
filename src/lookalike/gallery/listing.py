"""The files of a source of ``Gallery.add``, and what the gallery forgets of those no longer there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from lookalike.errors import UnreadableImageError
from lookalike.gallery.absence import Absent, absent_files
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.files import absolute
from lookalike.gallery.maintenance import forget_files
from lookalike.images import iter_images
from lookalike.store import VectorStore
from lookalike.types.packed_texts import PackedTexts


@dataclass(frozen=True)
class Listing:
    """Distinct absolute paths of images, the folder that was listed, and what was left out of it."""

    paths: Sequence[str]
    folder: Path | None = None  # None: single files
    impossible: tuple[tuple[str, str], ...] = ()  # names that a table can't store, with the reason
    skipped: tuple[tuple[str, str], ...] = ()  # folders and entries that were not looked at, with the reason


def listing_of(source: str | Path | Iterable[str | Path], ignore: Sequence[str]) -> Listing:
    """List a folder (recursively), a file, or several files; ``ignore`` lists glob patterns of files to skip.

    Raises UnreadableImageError for a path at which nothing lies.
    """
    if not isinstance(source, str | Path):
        return _distinct(map(Path, source))
    if not str(source) or not os.path.lexists(source):
        raise UnreadableImageError(f"{str(source)!r}: no such file or folder; check the path")
    if not Path(source).is_dir():
        return _distinct([Path(source)])
    folder, skipped = Path(absolute(source)), list[tuple[str, str]]()
    impossible: list[tuple[str, str]] = []
    paths = PackedTexts(_possible(iter_images(folder, ignore=ignore, skipped=skipped), impossible))
    return Listing(paths, folder, tuple(impossible), tuple(skipped))


def with_absent(
    report: AddReport, listing: Listing, store: VectorStore, *, prune: bool, yes: bool
) -> AddReport:
    """Add to a report what is not found of the folder; with ``prune`` forget it, as far as that is certain.

    ``yes`` also forgets what is doubtful (see ``Absent.forgettable``).
    """
    absent = absent_files(store, listing.folder) if listing.folder else Absent()
    forgotten = absent.forgettable(yes) if prune else ()
    former = tuple(path for path, _ in report.moved)
    return replace(
        report,
        unreadable=(*listing.impossible, *report.unreadable),
        vanished=(*former, *absent.gone),
        pruned=forget_files(store, forgotten),
        forgotten=(*former, *forgotten) if prune else (),
        kept=absent.kept(forgotten),
        not_pruned=absent.question if prune and not yes else "",
        skipped=listing.skipped,
    )


def _distinct(files: Iterable[Path]) -> Listing:
    """Absolute paths, each once."""
    impossible: list[tuple[str, str]] = []
    paths = dict.fromkeys(_possible(map(absolute, files), impossible))
    return Listing(list(paths), impossible=tuple(impossible))


def _possible(paths: Iterable[str], impossible: list[tuple[str, str]]) -> Iterator[str]:
    """The paths without those that a table can't store, which are appended to ``impossible``."""
    for path in paths:
        try:
            path.encode()
        except UnicodeEncodeError:
            shown = path.encode(errors="replace").decode()
            impossible.append((shown, "its name is not valid UTF-8; rename it"))
            continue
        yield path
