"""WebDataset tars as a source of ``Gallery.add``: their pictures, and what their samples say of them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from lookalike.errors import StoreUnreachableError, UnreadableImageError, first_line
from lookalike.gallery.files import absolute
from lookalike.images import FoundFile, is_left_out
from lookalike.images.tars import TarIndex, tar_index, tar_status

_AT_ONCE = 8  # tars that are passed over
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_MOST_NAMES = 100_000  # that braces may stand for


@final
class SampleMetadata:
    """Metadata of pictures in tars by their paths."""

    def __init__(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        self._values = values

    def __call__(self, path: Path) -> Mapping[str, Any]:
        """Return what the sample of a picture says; empty if it says nothing."""
        return self._values.get(absolute(path), {})


@dataclass(frozen=True)
class ListedTars:
    """Pictures of tars by their paths, in order, and what can't be read of the tars."""

    found: Mapping[str, FoundFile]
    metadata: SampleMetadata
    unreadable: tuple[tuple[str, str], ...]  # path and reason


def list_tars(tars: Sequence[str], ignore: Sequence[str]) -> ListedTars:
    """List the pictures of tars; a tar among others that can't be read is reported by name.

    ``ignore`` lists patterns, compared with a member's name and its last part. Raises UnreadableImageError
    for a single tar that can't be read, and StoreUnreachableError.
    """
    found: dict[str, FoundFile] = {}
    values: dict[str, Mapping[str, Any]] = {}
    unreadable: list[tuple[str, str]] = []
    with ThreadPoolExecutor(_AT_ONCE, "tars") as threads:
        for tar, answer in zip(tars, threads.map(_index_or_error, tars), strict=True):
            if isinstance(answer, UnreadableImageError):
                if len(tars) == 1 or isinstance(answer, StoreUnreachableError):
                    raise answer
                unreadable.append((tar, str(answer).removeprefix(f"{tar}: ")))
                continue
            index, mtime_ns = answer
            unreadable += [(f"{tar}/{name}".rstrip("/"), reason) for name, reason in index.unreadable]
            for name, (offset, size) in index.members.items():
                if is_left_out(name, ignore):
                    continue
                path = f"{tar}/{name}"
                found[path] = FoundFile(path, size, mtime_ns, offset)
                if said := index.metadata(name):
                    values[path] = said
    return ListedTars(found, SampleMetadata(values), tuple(unreadable))


def _index_or_error(tar: str) -> tuple[TarIndex, int] | UnreadableImageError:
    try:
        mtime_ns = tar_status(tar).mtime_ns  # before the passing, so that a change meanwhile is found
        return tar_index(tar), mtime_ns
    except UnreadableImageError as error:
        return error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or first_line(error).removeprefix(f"{tar}: ")
        return UnreadableImageError(f"{tar}: {reason}")


def braces_expanded(name: str) -> list[str]:
    """The names of tars that braces stand for, as WebDataset writes them; other names as they are.

    Raises UnreadableImageError for more than 100,000 of them.

    >>> braces_expanded("s3://photos/{train,val}-{08..10}.tar")[1:4]
    ['s3://photos/train-09.tar', 's3://photos/train-10.tar', 's3://photos/val-08.tar']
    """
    parts = re.split(r"\{([^{}]*)\}", name)  # every second one was in braces
    if not name.endswith(".tar") or len(parts) == 1:
        return [name]
    choices = [
        list(itertools.islice(_choices(part), _MOST_NAMES + 1)) if i % 2 else [part]
        for i, part in enumerate(parts)
    ]
    names = list(itertools.islice(map("".join, itertools.product(*choices)), _MOST_NAMES + 1))
    if len(names) > _MOST_NAMES:
        raise UnreadableImageError(f"{name}: its braces stand for more than {_MOST_NAMES:,} tars")
    return names


def _choices(part: str) -> Iterator[str]:
    if (ends := _RANGE.fullmatch(part)) is None:
        yield from part.split(",")
        return
    width = max(map(len, ends.groups())) if any(text[0] == "0" for text in ends.groups()) else 0
    first, last = map(int, ends.groups())
    step = 1 if first <= last else -1
    yield from (f"{number:0{width}}" for number in range(first, last + step, step))
