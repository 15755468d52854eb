"""The pictures of a source of ``Gallery.add``, and what the gallery forgets of those no longer there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeGuard

from lookalike.datasets.tables import TABLE_SUFFIXES
from lookalike.errors import UnreadableImageError
from lookalike.gallery.absence import Absent, absent_files
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.add_run import Metadata
from lookalike.gallery.files import absolute
from lookalike.gallery.labels import MetadataOf, merged_metadata, table_metadata, table_remarks
from lookalike.gallery.maintenance import forget_files
from lookalike.gallery.tar_sources import braces_expanded, list_tars
from lookalike.images import (
    IMAGE_SUFFIXES,
    FoundFile,
    is_left_out,
    is_remote,
    iter_images,
    remote_uri,
    status_of,
)
from lookalike.images.object_store import list_objects, odd_name, remote_statuses
from lookalike.images.tars import is_tar, split_member
from lookalike.store import VectorStore
from lookalike.types.packed_texts import PackedTexts

_NOTHING_TO_PRUNE = "nothing is forgotten for a list of files: prune by their folder, prefix or tar"


@dataclass(frozen=True)
class Listing:
    """Distinct absolute paths of images, where they were listed, and what was left out of it."""

    paths: Sequence[str]
    folder: Path | None = None  # on disk, of files that lie there themselves
    top: str | None = None  # the folder, prefix or tar that was listed as a whole; None: single files
    impossible: tuple[tuple[str, str], ...] = ()  # names that a table can't store, with the reason
    skipped: tuple[tuple[str, str], ...] = ()  # folders and entries that were not looked at, with the reason
    found: Mapping[str, FoundFile] = field(default_factory=dict)  # size and time, where the list had them
    metadata: MetadataOf | None = None  # what the source itself says of its pictures
    remarks: tuple[str, ...] = ()  # each a sentence

    def with_own(self, metadata: Metadata | None) -> Metadata | None:
        """Metadata that was given, over what the source itself says."""
        if self.metadata is None or metadata is None:
            return metadata if self.metadata is None else self.metadata
        given = metadata if callable(metadata) else lambda _: metadata
        return merged_metadata(self.metadata, given)

    def all_remarks(self, metadata: Metadata | None, *, prune: bool) -> tuple[str, ...]:
        """Remarks on the source, on pruning, and on a table or folders that gave the metadata."""
        said = (_NOTHING_TO_PRUNE,) if prune and self.top is None else ()
        return (*self.remarks, *said, *table_remarks(metadata, self.paths))


def listing_of(source: str | Path | Iterable[str | Path], ignore: Sequence[str]) -> Listing:
    """List a folder or ``s3://`` prefix (recursively), a file, a table of paths, tars, or several files.

    ``ignore`` lists glob patterns of files to skip. Raises UnreadableImageError for a path at which nothing
    lies, and GalleryError for a table without paths.
    """
    if not isinstance(source, str | Path):
        return _of_files(source, ignore)
    if not os.path.lexists(source) and (names := braces_expanded(str(source))) != [str(source)]:
        return _of_files(names, ignore)
    if is_remote(source):
        return _of_remote(remote_uri(source), ignore)
    if "://" in str(source):
        raise UnreadableImageError(f"{source}: pictures are read from folders and from s3://, not from there")
    if not str(source) or not os.path.lexists(source):
        raise UnreadableImageError(f"{str(source)!r}: no such file or folder; check the path")
    if Path(source).is_dir():
        return _of_folder(Path(absolute(source)), ignore)
    return _of_one_file(absolute(source), ignore)


def is_table(source: object) -> TypeGuard[str | Path]:
    """Whether a source is a table of paths, by its name."""
    return isinstance(source, str | Path) and str(source).lower().endswith(TABLE_SUFFIXES)


def with_absent(
    report: AddReport, listing: Listing, store: VectorStore, *, prune: bool, yes: bool
) -> AddReport:
    """Add to a report what is not found of the folder; with ``prune`` forget it, as far as that is certain.

    ``yes`` also forgets what is doubtful (see ``Absent.forgettable``).
    """
    absent = absent_files(store, listing.top, listed=listing.paths) if listing.top else Absent()
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


def _of_folder(folder: Path, ignore: Sequence[str]) -> Listing:
    skipped: list[tuple[str, str]] = []
    impossible: list[tuple[str, str]] = []
    tars: list[str] = []
    files = iter_images(folder, ignore=ignore, skipped=skipped, suffixes={*IMAGE_SUFFIXES, ".tar"})
    paths = PackedTexts(_possible(_without_tars(files, tars), impossible))
    if tars and not paths:
        return replace(_of_tars(tars, ignore), top=str(folder), skipped=tuple(skipped))
    return Listing(
        paths,
        folder,
        str(folder),
        tuple(impossible),
        tuple(skipped),
        remarks=_beside(str(folder), len(tars)),
    )


def _without_tars(paths: Iterable[str], tars: list[str]) -> Iterator[str]:
    """The paths without tars, which are appended to ``tars``."""
    for path in paths:
        if is_tar(path):
            tars.append(path)
        else:
            yield path


def _of_remote(uri: str, ignore: Sequence[str]) -> Listing:
    """What lies at a URI: one object, or all below it."""
    if not uri.endswith("/") and "/" in uri.removeprefix("s3://"):
        try:
            status_of(uri)
            return _of_one_file(uri, ignore)
        except FileNotFoundError:
            pass
    if (objects := list_objects(uri)) is None:
        raise UnreadableImageError(f"{uri}: nothing lies there; check bucket and prefix")
    prefix = uri.rstrip("/") + "/"
    shown = [each for each in objects if not is_left_out(each.path.removeprefix(prefix), ignore)]
    pictures = [each for each in shown if Path(each.path).suffix.lower() in IMAGE_SUFFIXES]
    tars = [each.path for each in shown if is_tar(each.path)]
    if tars and not pictures:
        return replace(_of_tars(tars, ignore), top=prefix)
    odd = {each.path: reason for each in pictures if (reason := _why_odd(each.path))}
    found = {each.path: each for each in pictures if each.path not in odd}
    return Listing(
        list(found),
        top=prefix,
        impossible=tuple(odd.items()),
        found=found,
        remarks=_beside(prefix, len(tars)),
    )


def _why_odd(uri: str) -> str | None:
    if split_member(uri):
        return "a part of its name ends in .tar, as if it were a member of a tar; rename it"
    return odd_name(uri)


def _beside(top: str, n_tars: int) -> tuple[str, ...]:
    """Say that tars beside pictures were not opened."""
    if not n_tars:
        return ()
    which = f"{n_tars:,} .tar files lie" if n_tars > 1 else "a .tar file lies"
    return (
        f"{which} beside the pictures in {top} and stayed closed; give tars by name to index what they hold",
    )


def _of_one_file(path: str, ignore: Sequence[str]) -> Listing:
    if is_tar(path):
        return replace(_of_tars([path], ignore), top=path)
    if is_table(path):
        table = table_metadata(path)
        return replace(_of_files(table.paths(), ignore), metadata=table)
    return _of_files([path], ignore)


def _of_files(paths: Iterable[str | Path], ignore: Sequence[str]) -> Listing:
    """Several files, tars among them; sizes of objects are asked for at once."""
    files = list(paths)
    tars = [absolute(path) for path in files if is_tar(path)]
    listing = _distinct(path for path in files if not is_tar(path))
    found = remote_statuses(path for path in listing.paths if is_remote(path))
    if not tars:
        return replace(listing, found=found)
    members = _of_tars(tars, ignore)
    return replace(
        members,
        paths=[*listing.paths, *members.paths],
        impossible=(*listing.impossible, *members.impossible),
        found={**found, **members.found},
    )


def _of_tars(tars: Sequence[str], ignore: Sequence[str]) -> Listing:
    listed = list_tars(tars, ignore)
    return Listing(
        list(listed.found), impossible=listed.unreadable, found=listed.found, metadata=listed.metadata
    )


def _distinct(files: Iterable[str | Path]) -> Listing:
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
        if is_remote(path) and (reason := odd_name(path)):
            impossible.append((path, reason))
        else:
            yield path
