"""Class folders: CLASS/IMAGE, or SPLIT/CLASS/IMAGE as in cub200, cars196 and birds_cropped."""

from __future__ import annotations

import logging
from functools import partial
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.splits import SPLITS, WHOLE, SplitReaders, split_name
from lookalike.datasets.texts import label_text
from lookalike.errors import DatasetError, UnreadableImageError
from lookalike.images import list_images
from lookalike.images.listing import SYSTEM_FOLDERS

_logger = logging.getLogger(__name__)


def read_folders(source: Path) -> SplitReaders:
    """Read the class folders in a folder or in its splits; the name of the folder is the label.

    Raises DatasetError for a missing folder, for splits beside other folders and, when a split is read,
    for a class folder without images.
    """
    folders = _folders(source)
    splits: dict[str, Path] = {}
    for folder in folders:
        if (name := split_name(folder.name)) in SPLITS:
            if name in splits:
                raise DatasetError(
                    f"{source} has two folders of the split {name}: {splits[name].name} and {folder.name}; "
                    "keep one of them"
                )
            splits[name] = folder
    if splits and len(splits) == len(folders):
        return {name: partial(_classes_of, folder) for name, folder in splits.items()}
    if splits:
        named = ", ".join(folder.name for folder in splits.values())
        others = ", ".join(folder.name for folder in folders if folder not in splits.values())
        raise DatasetError(
            f"{source} has folders named as splits ({named}) beside other folders ({others}); move the "
            "others away or into a split, or, if all of them are classes, choose the layout classes"
        )
    return read_class_folders(source)


def read_class_folders(source: Path) -> SplitReaders:
    """Read the class folders in a folder, whatever their names. Raises DatasetError as ``read_folders``."""
    return {WHOLE: partial(_classes_of, source)}


def _classes_of(source: Path) -> LabeledImages:
    folders = _folders(source)
    if len(folders) == 1 and split_name(folders[0].name) in SPLITS and _folders(folders[0]):
        raise DatasetError(
            f"{source} holds nothing but a folder named as a split ({folders[0].name}), as archives unpack "
            f"into a folder of their own name; move the classes that it holds up, into {source}"
        )
    for folder in folders:
        inner = [each.name for each in _folders(folder) if split_name(each.name) in SPLITS]
        if inner and split_name(folder.name) not in SPLITS:
            raise DatasetError(
                f"{folder} looks like a class, but holds folders named as splits ({', '.join(inner)}), whose "
                "images would be mixed; lay splits above classes, as in train/CLASS/IMAGE"
            )
    images = {label_text(folder.name): _images(folder) for folder in folders}
    if len(images) < len(folders):
        raise DatasetError(
            f"{source} has two class folders of the same name in other Unicode forms; join them"
        )
    if not images:
        raise DatasetError(
            f"{source} has no class folders; images lie as CLASS/IMAGE or SPLIT/CLASS/IMAGE below it"
        )
    if empty := [name for name, paths in images.items() if not paths]:
        raise DatasetError(
            f"{len(empty)} of {len(images)} classes in {source} have no image, e.g. {empty[0]}; "
            "remove their folders"
        )
    if beside := list_images(source, recursive=False):
        _logger.warning(
            "%d images lie in %s itself, in no class folder, and are left out, e.g. %s",
            len(beside),
            source,
            beside[0].name,
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
        return sorted(
            path
            for path in source.iterdir()
            if path.is_dir() and not path.name.startswith(".") and path.name not in SYSTEM_FOLDERS
        )
    except OSError as error:
        raise DatasetError(f"{source} is no folder of images: {error.strerror}; check the path") from error
