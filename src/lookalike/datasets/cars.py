"""Cars196 in its published layout: annotations in MATLAB files, images in one folder or two."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.listed import listed_images
from lookalike.datasets.splits import SplitReaders
from lookalike.errors import DatasetError

WHOLE_SET = "cars_annos.mat"
# The same images, renumbered in two folders: annotations (at the top or in devkit), images.
HALVES = (("cars_train_annos.mat", "cars_train"), ("cars_test_annos_withlabels.mat", "cars_test"))


def has_annotations(source: Path) -> bool:
    """Whether ``source`` is a folder of Cars196."""
    return (source / WHOLE_SET).exists() or _annotations(source, HALVES[0][0]) is not None


def read_cars(source: Path) -> SplitReaders:
    """Read the split of metric learning: classes 1 to 98 train, 99 to 196 test.

    The published split into training and test images is not used, since it divides the images of every
    class. With another number of classes, the first half trains. Raises DatasetError.
    """
    rows = list(_rows(source))
    classes = sorted({number for _, number in rows})
    half = len(classes) // 2
    return {
        "train": partial(_part, source, rows, frozenset(classes[:half])),
        "test": partial(_part, source, rows, frozenset(classes[half:])),
    }


def _part(source: Path, rows: list[tuple[Path, int]], classes: frozenset[int]) -> LabeledImages:
    return listed_images(((path, str(number)) for path, number in rows if number in classes), source)


def _rows(source: Path) -> Iterator[tuple[Path, int]]:
    """Yield every image with the number of its class."""
    if (source / WHOLE_SET).exists():
        for row in _structs(source / WHOLE_SET):
            yield source / _text(row, "relative_im_path"), _number(row, "class", source / WHOLE_SET)
        return
    for name, folder in HALVES:
        file = _annotations(source, name)
        if file is None:
            raise DatasetError(
                f"{source} has no {name}, at its top or in devkit; the labels of both halves are needed, "
                f"or {WHOLE_SET} of the whole set"
            )
        for row in _structs(file):
            yield source / folder / _text(row, "fname"), _number(row, "class", file)


def _annotations(source: Path, name: str) -> Path | None:
    return next((file for file in (source / name, source / "devkit" / name) if file.exists()), None)


def _structs(file: Path) -> list[Any]:
    try:
        matlab = importlib.import_module("scipy.io")  # extra train; galleries do not need it
    except ImportError as error:
        raise DatasetError("MATLAB files need scipy: pip install 'lookalike[train]'") from error
    try:
        return list(
            np.atleast_1d(matlab.loadmat(file, squeeze_me=True, struct_as_record=False)["annotations"])
        )
    except Exception as error:  # scipy raises many kinds on a damaged file
        raise DatasetError(
            f"{file} holds no annotations that can be read ({type(error).__name__}: {error}); "
            "download it again"
        ) from error


def _text(row: Any, field: str) -> str:
    return str(getattr(row, field))


def _number(row: Any, field: str, file: Path) -> int:
    value = getattr(row, field, None)
    if value is None:
        raise DatasetError(f"{file} has images without a class; use the file with labels")
    return int(value)
