"""Class folders: CLASS/IMAGE, or SPLIT/CLASS/IMAGE as in cub200, cars196 and birds_cropped."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.splits import SPLITS, WHOLE, SplitReaders
from lookalike.errors import DatasetError, UnreadableImageError
from lookalike.images import list_images


def read_folders(source: Path) -> SplitReaders:
    """Read the class folders in a folder or in its splits; the name of the folder is the label.

    Raises DatasetError for a missing folder, for splits beside other folders and, when a split is read,
    for a class folder without images.
    """
    folders = _folders(source)
    splits = [folder for folder in folders if folder.name in SPLITS]
    if splits and len(splits) == len(folders):
        return {folder.name: partial(_classes_of, folder) for folder in splits}
    names = {folder.name for folder in folders}
    if "train" in names and names & {"test", "val", "valid", "validation"}:
        others = ", ".join(sorted(names - set(SPLITS)))
        raise DatasetError(
            f"{source} has splits ({', '.join(folder.name for folder in splits)}) beside other folders "
            f"({others}); splits are {', '.join(SPLITS)}: rename or move the others, or name one split's "
            "folder"
        )
    return {WHOLE: partial(_classes_of, source)}


def _classes_of(source: Path) -> LabeledImages:
    images = {folder.name: _images(folder) for folder in _folders(source)}
    if not images:
        raise DatasetError(
            f"{source} has no class folders; images lie as CLASS/IMAGE or SPLIT/CLASS/IMAGE below it"
        )
    if empty := [name for name, paths in images.items() if not paths]:
        raise DatasetError(
            f"{len(empty)} of {len(images)} classes in {source} have no image, e.g. {empty[0]}; "
            "remove their folders"
        )
    return LabeledImages(
        tuple(path for paths in images.values() for path in paths),
        tuple(name for name, paths in images.items() for _ in paths),
    )


def _images(folder: Path) -> list[Path]:
    try:
        return list_images(folder)
    except UnreadableImageError as error:
        raise DatasetError(f"{error}; check its permissions") from error


def _folders(source: Path) -> list[Path]:
    try:
        return sorted(path for path in source.iterdir() if path.is_dir() and not path.name.startswith("."))
    except OSError as error:
        raise DatasetError(f"{source} is no folder of images: {error.strerror}; check the path") from error
