"""A dataset by its path: which layout it has is seen from its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lookalike.datasets.folders import read_folders
from lookalike.datasets.labelled import LabelledImages
from lookalike.errors import DatasetError

Reader = Callable[[Path, str | None], LabelledImages]

LAYOUTS: Mapping[str, Reader] = {"folders": read_folders}


def read_dataset(source: str | Path, split: str | None = None, layout: str = "auto") -> LabelledImages:
    """The labelled images of a dataset, or of one split of it (train, val, test, query, gallery).

    Nothing is opened but lists and annotations. Raises DatasetError, saying what was expected
    where, for a layout that is not there, a split that it has not, a class without images or a
    listed file that is missing.
    """
    source = Path(source)
    if layout != "auto" and layout not in LAYOUTS:
        raise ValueError(f"layout is auto, {', '.join(LAYOUTS)}; got {layout!r}")
    if not source.exists():
        raise DatasetError(f"there is no dataset at {source}; check the path")
    return LAYOUTS[layout_of(source) if layout == "auto" else layout](source, split)


def layout_of(source: Path) -> str:
    """The name of the layout that the files of a dataset have."""
    return "folders"
