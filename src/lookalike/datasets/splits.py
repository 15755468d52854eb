"""Splits of a dataset by name, and the choice among them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.errors import DatasetError

SPLITS = ("train", "val", "test", "query", "gallery")
WHOLE = ""  # the name of the only part of a dataset without splits

# Each split by name, with a function that reads it.
SplitReaders = Mapping[str, Callable[[], LabeledImages]]


def chosen(split: str | None, parts: SplitReaders, source: Path) -> LabeledImages:
    """Read the given split, or the only one. Raises DatasetError if it does not exist or is ambiguous."""
    names = ", ".join(sorted(parts))
    if split is None and len(parts) > 1:
        raise DatasetError(f"{source} has the splits {names}; choose one of them")
    if split is None:
        return next(iter(parts.values()))()
    if WHOLE in parts:
        raise DatasetError(f"{source} has no splits, so no {split!r}; leave the split out")
    if split not in parts:
        raise DatasetError(f"{source} has no split {split!r}; it has {names}")
    return parts[split]()
