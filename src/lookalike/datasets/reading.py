"""Reading a dataset by its path; its layout is recognized by its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lookalike.datasets import cars, cub, folders, online_products, tables
from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.splits import WHOLE, SplitReaders, chosen
from lookalike.errors import DatasetError

LAYOUTS: Mapping[str, Callable[[Path], SplitReaders]] = {
    "folders": folders.read_folders,
    "classes": folders.read_class_folders,
    "cub": cub.read_cub,
    "cars": cars.read_cars,
    "online-products": online_products.read_online_products,
    "table": tables.read_labeled_table,
    "lists": tables.read_lists,
}


def read_dataset(source: str | Path, split: str | None = None, layout: str = "auto") -> LabeledImages:
    """Read the labeled images of a dataset, or of one split of it (train, val, test, query, gallery).

    ``layout`` is one of ``LAYOUTS``, or auto. Reads lists and annotations, but opens no image. Raises
    DatasetError for files that do not have the layout, an unknown split, a class without images or a
    missing file; ValueError for an unknown layout.
    """
    return chosen(split, _parts(source, layout), Path(source))


def splits_of(source: str | Path, layout: str = "auto") -> tuple[str, ...]:
    """Return the names of a dataset's splits, sorted; empty if it has none. Raises DatasetError."""
    return tuple(sorted(set(_parts(source, layout)) - {WHOLE}))


def layout_of(source: Path) -> str:
    """Recognize the layout of a dataset by its files, and return its name."""
    if source.suffix.lower() in tables.TABLE_SUFFIXES:
        return "table"
    if (source / cub.IMAGES).exists() and (source / cub.LABELS).exists():
        return "cub"
    if online_products.folder_of_lists(source) is not None:
        return "online-products"
    if cars.has_annotations(source):
        return "cars"
    if tables.lists_in(source):
        return "lists"
    return "folders"


def _parts(source: str | Path, layout: str) -> SplitReaders:
    source = Path(source)
    if layout != "auto" and layout not in LAYOUTS:
        raise ValueError(f"layout is auto, {', '.join(LAYOUTS)}; got {layout!r}")
    if not source.exists():
        raise DatasetError(f"there is no dataset at {source}; check the path")
    return LAYOUTS[layout_of(source) if layout == "auto" else layout](source)
