"""Parts of a dataset by name, and which of them is meant."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lookalike.errors import DatasetError

SPLITS = ("train", "val", "test", "query", "gallery")


def chosen(split: str | None, available: Collection[str], source: Path) -> str:
    """The split that is asked for, or the only one. Raises DatasetError where that is unclear."""
    names = ", ".join(sorted(available))
    if split is None and len(available) == 1:
        return next(iter(available))
    if split is None:
        raise DatasetError(f"{source} has the splits {names}; choose one of them")
    if split not in available:
        raise DatasetError(f"{source} has no split {split!r}; it has {names}")
    return split
