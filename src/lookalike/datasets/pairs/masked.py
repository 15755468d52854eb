"""Labeled images with masks: a folder of images/ and one of masks/."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path, PurePosixPath

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import name_in, of_equal_label
from lookalike.datasets.pairs.pair import KnownImage
from lookalike.errors import DatasetError, UnreadableImageError
from lookalike.images import list_images

_NUMBERING = re.compile(r"[\W\d_]+$")  # numbers and what joins them, at the end of a name


def read_masked_pairs(source: Path) -> Candidates:
    """Pairs of equal label among ``images/``, each image with its file in ``masks/``.

    The label is the subfolder of ``images/``, or, if there are none, what `labels_of_names` finds.
    Raises DatasetError for an image without mask.
    """
    paths = images_below(source / "images")
    stems = [stem_in(source / "images", path) for path in paths]
    masks = masks_by_stem(source / "masks", set(stems))
    if missing := [path for path, stem in zip(paths, stems, strict=True) if stem not in masks]:
        raise DatasetError(
            f"{len(missing)} of {len(paths)} images in {source / 'images'} have no mask, e.g. "
            f"{missing[0].name}; "
            f"add {stem_in(source / 'images', missing[0])}.png to {source / 'masks'}"
        )
    try:
        data = LabeledImages(tuple(paths), labels_of_names(stems))
    except ValueError as error:
        raise DatasetError(f"{source / 'images'}: {error}") from error

    def known(path: Path, label: str) -> KnownImage:
        return KnownImage(path, label, mask=masks[stem_in(source / "images", path)])

    return of_equal_label(data, source, known=known)


def images_below(folder: Path) -> list[Path]:
    """The image files below a folder, sorted. Raises DatasetError if there are none."""
    try:
        paths = list_images(folder)
    except UnreadableImageError as error:
        raise DatasetError(f"{error}; check its permissions") from error
    if not paths:
        raise DatasetError(f"{folder} has no images; check that it is complete")
    return paths


def stem_in(folder: Path, path: Path) -> str:
    """The path of a file below a folder, without its ending."""
    return PurePosixPath(name_in(folder, path)).with_suffix("").as_posix()


def masks_by_stem(folder: Path, stems: Collection[str]) -> dict[str, Path]:
    """The file in a folder of masks for each stem: of the same stem, or of one that ``_`` and more follow.

    Of ``a`` and ``a_1``, ``a_1_seg0.png`` belongs to the longer. Files that belong to no stem are left
    out. Raises DatasetError for two files of one stem.
    """
    found: dict[str, Path] = {}
    for path in images_below(folder):
        stem = PurePosixPath(stem_in(folder, path))
        while stem.as_posix() not in stems and "_" in stem.name.strip("_"):
            stem = stem.with_name(stem.name.rpartition("_")[0])
        if stem.as_posix() not in stems:
            continue
        if other := found.get(stem.as_posix()):
            raise DatasetError(f"{other} and {path} are both masks of {stem}; keep one of them")
        found[stem.as_posix()] = path
    return found


def labels_of_names(stems: Sequence[str]) -> tuple[str, ...]:
    """The label in each name of a numbered series: what stands before the numbers.

    - the folder, if every name has one: ``cats/a`` is of ``cats``;
    - else the name without the numbers at its end: ``monarch_0012`` is of ``monarch``;
    - else, in names of digits only, the shortest beginning after which most numbers come again after
      another beginning: of ``0010001``, ``0010002``, ``0020001`` and ``0020002``, ``001`` and ``002``.

    Raises ValueError if the names do not tell two labels apart.

    >>> labels_of_names(["monarch_1", "monarch_2", "zebra_1"])
    ('monarch', 'monarch', 'zebra')
    >>> labels_of_names(["0010001", "0010002", "0020001", "0020002"])
    ('001', '001', '002', '002')
    """
    folders = tuple(PurePosixPath(stem).parent.as_posix() for stem in stems)
    if "." not in folders:
        return folders
    labels = tuple(_NUMBERING.sub("", stem) for stem in stems)
    if not any(labels) and len({len(stem) for stem in stems}) == 1 and all(map(str.isdigit, stems)):
        labels = _beginnings(stems)
    if len(set(labels)) < 2 or not all(labels):
        raise ValueError("its names do not tell labels; put the images of each label into a subfolder")
    return labels


def _beginnings(stems: Sequence[str]) -> tuple[str, ...]:
    for length in range(1, len(stems[0])):
        labels_after: dict[str, set[str]] = {}
        for stem in stems:
            labels_after.setdefault(stem[length:], set()).add(stem[:length])
        again = sum(len(labels_after[stem[length:]]) > 1 for stem in stems)
        if again > len(stems) / 2:
            return tuple(stem[:length] for stem in stems)
    return ("",) * len(stems)
