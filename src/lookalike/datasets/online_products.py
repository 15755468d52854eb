"""Stanford Online Products: Ebay_train.txt and Ebay_test.txt, at the top or in Info_Files."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.listed import fields_of_lines, listed_images
from lookalike.datasets.splits import SplitReaders
from lookalike.errors import DatasetError

LISTS = {"train": "Ebay_train.txt", "test": "Ebay_test.txt"}


def folder_of_lists(source: Path) -> Path | None:
    """Return the folder of the lists, or None for another dataset."""
    for folder in (source, source / "Info_Files"):
        if any((folder / name).exists() for name in LISTS.values()):
            return folder
    return None


def read_online_products(source: Path) -> SplitReaders:
    """Read the published split: 11,318 products train, 11,316 others test; each product is a class.

    Images are in the folder itself or in its folder ``images``. Raises DatasetError.
    """
    folder = folder_of_lists(source)
    if folder is None:
        raise DatasetError(f"{source} has no {' or '.join(LISTS.values())}, at its top or in Info_Files")
    return {
        split: partial(_read, source, folder / name)
        for split, name in LISTS.items()
        if (folder / name).exists()
    }


def _read(source: Path, file: Path) -> LabeledImages:
    rows = [(path, number) for _, number, _, path in fields_of_lines(file, 4, header=True)]
    tops = [source, source / "images"]
    top = next((top for top in tops if rows and (top / rows[0][0]).is_file()), source)
    return listed_images(((top / path, number) for path, number in rows), file)
