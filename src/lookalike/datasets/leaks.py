"""Exact copies among labeled images: within a set, and between what is learned from and what is measured."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages

_PIECE = 2**20  # bytes read at once


def leak_remark(
    learned: Sequence[Path], measured: Sequence[Path], *, of_learned: str, of_measured: str
) -> str:
    """Say how many measured images have the bytes of a learned one; empty if none has.

    ``of_learned`` and ``of_measured`` name the two sets. Only files of equal size are read.
    """
    measured_ones = set(measured)
    pairs = [
        (path, original)
        for group in _equal_files([*learned, *measured_ones.difference(learned)])
        if (original := next((path for path in group if path not in measured_ones), None)) is not None
        for path in group
        if path in measured_ones
    ]
    same = len(measured_ones.intersection(learned))
    n = len(pairs) + same
    if not n:
        return ""
    example = (
        f"{pairs[0][0]} and {pairs[0][1]}" if pairs else str(next(p for p in measured if p in set(learned)))
    )
    return (
        f"Leak: {n:,} of {len(measured):,} images of {of_measured} are exact copies of images of "
        f"{of_learned}, e.g. {example}; metrics on them measure nothing."
    )


def copies_remark(data: LabeledImages) -> str:
    """Say how many images are exact copies of others, and whether their labels differ; empty if none is."""
    label_of = dict(zip(data.paths, data.labels, strict=True))
    groups = _equal_files(label_of)
    if not groups:
        return ""
    n = sum(len(group) - 1 for group in groups)
    text = f"{n:,} of {len(data):,} images are exact copies of others, e.g. {groups[0][0]} and {groups[0][1]}"
    if odd := [group for group in groups if len({label_of[path] for path in group}) > 1]:
        first = odd[0][0]
        other = next(path for path in odd[0] if label_of[path] != label_of[first])
        text += (
            f"; {len(odd):,} have different labels, e.g. {first} is {label_of[first]!r} and {other} is "
            f"{label_of[other]!r}"
        )
    return text + "."


def _equal_files(paths: Iterable[Path]) -> list[list[Path]]:
    """Groups of two or more files with the same bytes; files that can't be read are in none."""
    by_size: dict[int, list[Path]] = defaultdict(list)
    for path in paths:
        try:
            by_size[path.stat().st_size].append(path)
        except OSError:
            continue
    by_hash: dict[str, list[Path]] = defaultdict(list)
    for same_size in by_size.values():
        for path in same_size if len(same_size) > 1 else ():
            if digest := _digest(path):
                by_hash[digest].append(path)
    return [group for group in by_hash.values() if len(group) > 1]


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                digest.update(piece)
    except OSError:
        return ""
    return digest.hexdigest()
