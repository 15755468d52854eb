"""Files of a gallery that are not found: which are gone for certain, and which could not be looked at."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

from lookalike.gallery.files import absolute
from lookalike.images import is_remote, is_there
from lookalike.store import VectorStore

_FAR = "they lie at s3://, which is looked at only where its prefix is given"


@dataclass(frozen=True)
class Absent:
    """Files of a gallery that are not found, by what is known of them."""

    gone: tuple[str, ...] = ()  # the folder that held them lists other files
    doubtful: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by reason: a drive may be missing
    unseen: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # by reason: can't be looked at
    question: str = ""  # why forgetting those that are gone has to be asked for, a clause; empty: it has not

    def forgettable(self, yes: bool) -> tuple[str, ...]:
        """The files to forget; ``yes`` answers the question and includes the doubtful ones."""
        if yes:
            return (*self.gone, *(path for paths in self.doubtful.values() for path in paths))
        return () if self.question else self.gone

    def kept(self, forgotten: Collection[str]) -> tuple[tuple[str, int], ...]:
        """Reason and number of the doubtful and unseen files that are not among those forgotten."""
        left = {why: paths for why, paths in self.doubtful.items() if not set(paths) <= set(forgotten)}
        return tuple((why, len(paths)) for why, paths in {**left, **self.unseen}.items())


def absent_files(
    store: VectorStore, folder: str | Path | None = None, *, listed: Iterable[str] = ()
) -> Absent:
    """Tell which files in the store, all or those below a folder, no longer exist.

    Those ``listed`` are there. What lies at ``s3://`` is asked for only if it is below ``folder``.

    A file is gone if a folder that held it can be listed and lacks it. It is doubtful if its folder held
    several files and is empty now (hidden entries apart), as the folder of a drive is that is not mounted, or
    if a folder outside ``folder`` is missing. What lies in a folder that can't be read, or behind a broken
    link, is unseen.
    """
    top = None if folder is None else absolute(folder)
    are_listed = set(listed) if top is not None and is_remote(top) else set[str]()
    far: list[str] = []
    n_files = n_records = n_below = 0
    missing: dict[str, list[str]] = {}  # path of a record's file -> paths of all of its files
    for record in chain.from_iterable(store.record_batches()):
        paths = [file.path for file in record.files]
        n_files, n_records = n_files + len(paths), n_records + 1
        for path in paths:
            if top is None and is_remote(path):
                far.append(path)
            elif top is None or Path(path).is_relative_to(top):
                n_below += 1
                if path not in are_listed and not is_there(path):
                    missing[path] = paths
    found = {path: _holder(path, top) for path in missing}
    emptied = Counter(where for state, where in found.values() if state == "empty")
    gone: list[str] = []
    doubtful: dict[str, list[str]] = {}
    unseen: dict[str, list[str]] = {_FAR: far} if far else {}
    for path, (state, where) in found.items():
        if state == "listed" or (state == "empty" and emptied[where] == 1):
            gone.append(path)
        elif state == "empty":
            doubtful.setdefault(f"{where} is empty now", []).append(path)
        elif state == "missing":
            doubtful.setdefault(f"{where} is not there", []).append(path)
        else:
            unseen.setdefault(state, []).append(path)
    are_gone = set(gone)
    n_lost = len({paths[0] for paths in map(missing.__getitem__, gone) if are_gone.issuperset(paths)})
    question = ""
    if (gone or doubtful) and n_below == len(missing):
        question = f"none of the gallery's {n_below:,} files in {top or 'any folder'} is there"
    elif 2 * len(gone) > n_files or 2 * n_lost > n_records:
        question = f"{len(gone):,} of {n_files:,} files no longer exist, more than half of the gallery"
    return Absent(tuple(gone), _frozen(doubtful), _frozen(unseen), question)


def is_gone(path: str, folder: str | Path | None = None) -> bool:
    """Whether a file is gone for certain; in an emptied folder only if that lies below ``folder``."""
    if is_there(path):
        return False
    top = None if folder is None else absolute(folder)
    state, _ = _holder(path, top)
    return state == "listed" or (state == "empty" and top is not None and Path(path).is_relative_to(top))


def _holder(path: str, top: str | None) -> tuple[str, str]:
    """State of the nearest folder of a file that was not found, and that folder.

    The state is "listed", "empty", "missing" (outside ``top``), or the reason why it can't be looked at.
    """
    if is_remote(path):  # the store has just been asked; outside of what was listed a bucket may be away
        is_below = top is not None and Path(path).is_relative_to(top)
        return ("listed", str(top)) if is_below else ("missing", "its bucket")
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        pass
    except OSError as error:  # a folder that lists names need not let its files be seen
        return f"{Path(path).parent} can't be read: {error.strerror}", path
    for folder in Path(path).parents:
        try:
            with os.scandir(folder) as entries:
                is_empty = all(entry.name.startswith(".") for entry in entries)  # a mount point's marker, say
            return ("empty" if is_empty else "listed"), str(folder)
        except FileNotFoundError:
            if Path(folder).is_symlink():
                return f"{folder} is a link to nothing", str(folder)
            if top is None or not folder.is_relative_to(top):
                return "missing", str(folder)
        except NotADirectoryError:
            return "listed", str(folder)  # a file stands in its place
        except OSError as error:
            return f"{folder} can't be read: {error.strerror}", str(folder)
    return "missing", path


def _frozen(lists: Mapping[str, list[str]]) -> dict[str, tuple[str, ...]]:
    return {reason: tuple(paths) for reason, paths in lists.items()}
