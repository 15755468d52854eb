"""Pairs of labeled images: a query, and a match of the same label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.pair import ImagePair, KnownImage
from lookalike.datasets.reading import read_dataset, splits_of
from lookalike.errors import DatasetError


def read_labeled_pairs(source: Path) -> Candidates:
    """Pairs of equal label in any layout of `read_dataset`.

    Of a dataset with splits: query against gallery if it has both, else the first of test, val, train.
    """
    splits = splits_of(source)
    if {"query", "gallery"} <= set(splits):
        return of_equal_label(read_dataset(source, "query"), source, gallery=read_dataset(source, "gallery"))
    return of_equal_label(read_evaluated_split(source), source)


def read_evaluated_split(source: Path) -> LabeledImages:
    """The labeled images to draw pairs from; of a dataset with splits the first of test, val and train."""
    splits = splits_of(source)
    return read_dataset(source, next((name for name in ("test", "val", "train") if name in splits), None))


def of_equal_label(
    data: LabeledImages,
    source: Path,
    *,
    gallery: LabeledImages | None = None,
    known: Callable[[Path, str], KnownImage] = KnownImage,
) -> Candidates:
    """Queries of ``data`` with the images of the same label, in the gallery or else in ``data`` itself.

    ``known`` makes a path and a label an image with what else is known of it, for pairs that are drawn.
    """
    root = source if source.is_dir() else source.parent
    queries = {
        name_in(root, path): (path, label) for path, label in zip(data.paths, data.labels, strict=True)
    }
    searched = data if gallery is None else gallery
    images: Mapping[str, tuple[Path, str]] = queries | {
        name_in(root, path): (path, label)
        for path, label in zip(searched.paths, searched.labels, strict=True)
    }
    of_label: dict[str, list[str]] = {}
    for path, label in zip(searched.paths, searched.labels, strict=True):
        of_label.setdefault(label, []).append(name_in(root, path))
    title = source_name(source)

    def pair(query: str, match: str) -> ImagePair:
        return ImagePair(known(*images[query]), known(*images[match]), title, root=root)

    return Candidates(
        {name: of_label.get(label, []) for name, (_, label) in queries.items()},
        {name: label for name, (_, label) in queries.items()},
        pair,
    )


def name_in(root: Path, path: Path) -> str:
    """The name of a file in a dataset: its path below the root, or the whole path if it lies elsewhere."""
    return (path.relative_to(root) if path.is_relative_to(root) else path).as_posix()


def source_name(source: Path) -> str:
    """The name of a dataset for tables: that of its folder, or of its file without the ending."""
    return source.resolve().name if source.is_dir() else source.stem


def listed_file(path: Path, listed_in: Path) -> Path:
    """The path, if there is a file. Raises DatasetError that names what lists it."""
    if not path.is_file():
        raise DatasetError(f"{path}, listed in {listed_in}, is missing; check the folder of the images")
    return path
