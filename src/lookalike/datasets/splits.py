"""Splits of a dataset by name, and the choice among them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.errors import DatasetError

SPLITS = ("train", "val", "test", "query", "gallery")
WHOLE = ""  # the name of the only part of a dataset without splits

_USUAL = {
    "training": "train", "valid": "val", "validation": "val", "dev": "val", "testing": "test",
    "queries": "query", "probe": "query",
}  # fmt: skip

# What names add to a split's own: train_set, testing-images, val2017.
_ADDED = re.compile(r"(?<=[a-z])[ _-]?(set|split|data|images|imgs|(19|20)\d\d)$")

# Each split by name, with a function that reads it.
SplitReaders = Mapping[str, Callable[[], LabeledImages]]


def split_name(name: str) -> str:
    """Return the split that a name stands for, in upper or lower case; another name unchanged.

    >>> split_name("Train"), split_name("VALIDATION"), split_name("test_set"), split_name("fold 1")
    ('train', 'val', 'test', 'fold 1')
    """
    lower = _ADDED.sub("", name.strip().lower())
    return lower if lower in SPLITS else _USUAL.get(lower, name)


def chosen(split: str | None, parts: SplitReaders, source: Path) -> LabeledImages:
    """Read the given split, or the only one. Raises DatasetError if it does not exist or is ambiguous."""
    names = ", ".join(sorted(parts))
    if split is None and len(parts) > 1:
        raise DatasetError(f"{source} has the splits {names}; choose one of them")
    if split is None:
        return next(iter(parts.values()))()
    if WHOLE in parts:
        raise DatasetError(f"{source} has no splits, so no {split!r}; leave the split out")
    split = split if split in parts else split_name(split)
    if split not in parts:
        raise DatasetError(f"{source} has no split {split!r}; it has {names}")
    return parts[split]()
