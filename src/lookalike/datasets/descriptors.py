"""Labeled embeddings for training re-rankers: several descriptors of the same images.

Read from the layout of CSA's authors (``annotations/*.pkl``, ``train/*.pkl``, ``test/*/*.pkl``) and from
``.safetensors``, ``.npz`` and ``.npy``. Pickles are read without executing code.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lookalike.datasets.arrays import read_arrays, read_labels, read_vectors
from lookalike.datasets.pickles import read_pickle
from lookalike.errors import DatasetError

_LABELS = "labels"
_CACHED = re.compile(r"_\d+sim\d+topk(_AUG)?$")  # the authors' cached lists, beside the descriptors
_ANNOTATIONS = "retrieval-SfM-120k"  # the file that the authors' code reads

PublishedPart = Literal["query", "db"]
ViewChoice = Callable[[Sequence[str], str], Sequence[str]]  # names in a set, and its origin, to those read


@dataclass(frozen=True, eq=False, repr=False)
class Descriptors:
    """A set of images: the class of each, and one or more embeddings of all of them.

    Raises DatasetError for shapes that do not fit, NaN or infinity, and too few classes or images.
    """

    name: str
    labels: Tensor  # (N,) int64
    views: Mapping[str, Tensor]  # name: (N, D) float32, of any length; widths may differ

    def __repr__(self) -> str:
        return f"<Descriptors of {self.name}: {len(self.labels):,} images, views {', '.join(self.views)}>"

    def __post_init__(self) -> None:
        if not self.views:
            raise DatasetError(f"{self.name} should hold at least one matrix of embeddings, got none")
        for name, view in self.views.items():
            if view.ndim != 2 or len(view) != len(self.labels) or not view.shape[1]:
                raise DatasetError(
                    f"{self.name} should hold {name} of shape ({len(self.labels)}, width), one row "
                    f"per label, got {tuple(view.shape)}"
                )
            if bad := int((~view.isfinite().all(1)).sum()):
                raise DatasetError(
                    f"{self.name} holds NaN or infinity in {bad} of {len(view)} rows of {name}; "
                    "drop those images or embed them again"
                )
        counts = self.labels.unique(return_counts=True)[1]  # type: ignore[no-untyped-call]
        if len(counts) < 2 or int(counts.max()) < 2:
            raise DatasetError(
                f"{self.name} should have two classes or more, one of them with two images, got "
                f"{len(counts)} classes and {int(counts.max()) if len(counts) else 0} images in the largest"
            )


def views_named(names: Sequence[str]) -> ViewChoice:
    """A choice of the views of these names; DatasetError for a set that lacks one."""

    def choose(available: Sequence[str], origin: str) -> Sequence[str]:
        if missing := [name for name in names if name not in available]:
            raise DatasetError(
                f"{origin} holds no descriptors {missing[0]!r}; it has {', '.join(available) or 'none'}"
            )
        return list(dict.fromkeys(names))

    return choose


def all_views(available: Sequence[str], origin: str) -> Sequence[str]:
    """The choice of all views."""
    return available


def read_descriptors(
    source: Path, *, labels: Path | None = None, split: str = "train", choose: ViewChoice = all_views
) -> list[Descriptors]:
    """Read the sets of a file or folder, with the views that are chosen.

    A folder with ``annotations`` is one set in CSA's layout, each ``train/*.pkl`` a view; another folder
    holds one set per file. A .safetensors or .npz holds ``labels`` and the matrices of its views; a file
    of a single matrix needs a separate file ``labels``. Raises DatasetError and LookalikeError.
    """
    if (source / "annotations").is_dir():
        return [_published_set(source, split, choose)]
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.suffix in (".safetensors", ".npz"))
        if not files:
            raise DatasetError(
                f"{source} should hold annotations and train, or .safetensors files, got neither"
            )
        return [_file_set(file, choose) for file in files]
    if labels is not None:
        names = read_labels(labels)
        codes = {name: code for code, name in enumerate(sorted(set(names)))}
        classes = torch.tensor([codes[name] for name in names])
        views = {name: read_vectors(source) for name in choose([source.stem], str(source))}
        return [Descriptors(source.name, classes, views)]
    return [_file_set(source, choose)]


def read_published_test(path: Path, part: PublishedPart) -> Tensor:
    """Read the embeddings (N, D) float32 of a part of a file ``test/DATASET/NAME.pkl``.

    A file of a matrix alone, as the authors keep distractors, is taken whole. Raises DatasetError for a
    file of another layout.
    """
    content = read_pickle(path)
    if not isinstance(content, Mapping):
        return _matrix(content, path)
    if part not in content:
        found = ", ".join(map(str, content))
        raise DatasetError(f"{path} should be a matrix or a dict with query and db, got {found or 'nothing'}")
    return _matrix(content[part], path)


def read_matrix(path: Path, part: PublishedPart) -> Tensor:
    """Read embeddings (N, D) float32 from any file: ``read_vectors``, or a .pkl of CSA's, of which a part."""
    return read_published_test(path, part) if path.suffix == ".pkl" else read_vectors(path)


def _published_set(folder: Path, split: str, choose: ViewChoice) -> Descriptors:
    files = {f.stem: f for f in sorted((folder / "train").glob("*.pkl")) if not _CACHED.search(f.stem)}
    annotations = {file.stem: file for file in sorted((folder / "annotations").glob("*.pkl"))}
    name = _ANNOTATIONS if _ANNOTATIONS in annotations else next(iter(annotations), "")
    if not files or not name or (len(annotations) > 1 and name != _ANNOTATIONS):
        raise DatasetError(
            f"{folder} should hold one file annotations/*.pkl, or {_ANNOTATIONS}.pkl among them, and "
            f"descriptors train/*.pkl, got {len(annotations)} and {len(files)}"
        )
    labels = _classes(_at(read_pickle(annotations[name]), (split, "cluster"), annotations[name]), name)
    chosen = [files[view] for view in choose(list(files), str(folder / "train"))]
    views = {file.stem: _matrix(_at(read_pickle(file), (split,), file), file) for file in chosen}
    return Descriptors(name, labels, views)


def _classes(clusters: Any, name: str) -> Tensor:
    try:
        numbers = np.asarray(clusters)
        classes = numbers.astype(np.int64)
        if numbers.ndim != 1 or not (numbers == classes).all():
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise DatasetError(f"{name} should hold one whole number per image as cluster") from error
    return torch.as_tensor(classes)


def _at(content: Any, keys: tuple[str, ...], path: Path) -> Any:
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            raise DatasetError(f"{path} should hold {'/'.join(keys)} as CSA's files do, got no {key!r}")
        content = content[key]
    return content


def _matrix(values: Any, path: Path) -> Tensor:
    try:
        matrix = torch.as_tensor(np.asarray(values, dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path} should hold a matrix of numbers, got {type(values).__name__}") from error
    if matrix.ndim != 2:
        raise DatasetError(f"{path} should hold a matrix (items, width), got shape {tuple(matrix.shape)}")
    return matrix


def _file_set(path: Path, choose: ViewChoice) -> Descriptors:
    arrays = {name: torch.as_tensor(array) for name, array in read_arrays(path).items()}
    labels = arrays.pop(_LABELS, None)
    if labels is None or labels.ndim != 1 or labels.is_floating_point():
        raise DatasetError(
            f"{path} should hold whole numbers (items,) as {_LABELS} beside its matrices; "
            "or give the labels as a file"
        )
    views = {name: arrays[name].float() for name in choose(list(arrays), str(path))}
    return Descriptors(path.stem, labels.long(), views)
