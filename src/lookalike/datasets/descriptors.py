"""Labeled embeddings for training re-rankers: several descriptors of the same images.

Read from the layout of CSA's authors (``annotations/*.pkl``, ``train/*.pkl``, ``test/*/*.pkl``) and from
``.safetensors``, ``.npz`` and ``.npy``. Pickles are read without executing code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.datasets.arrays import read_arrays, read_labels, read_vectors
from lookalike.datasets.pickles import read_pickle
from lookalike.errors import DatasetError

_LABELS = "labels"
_MOST_NUMBERS = 2**28  # in lists of a pickle, which may repeat one list; arrays are bounded by their file
_CACHED = "topk"  # part of the names of the authors' cached lists, which lie beside the descriptors


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


def read_descriptors(source: Path, *, labels: Path | None = None, split: str = "train") -> list[Descriptors]:
    """Read the sets of a file or folder.

    A folder with ``annotations`` is one set in CSA's layout, each ``train/*.pkl`` a view; another folder
    holds one set per file. A .safetensors or .npz holds ``labels`` and the matrices of its views; a file
    of a single matrix needs a separate file ``labels``. Raises DatasetError and LookalikeError.
    """
    if (source / "annotations").is_dir():
        return [_published_set(source, split)]
    if source.is_dir():
        files = sorted(file for file in source.iterdir() if file.suffix in (".safetensors", ".npz"))
        if not files:
            raise DatasetError(
                f"{source} should hold annotations and train, or .safetensors files, got neither"
            )
        return [_file_set(file) for file in files]
    if labels is not None:
        names = read_labels(labels)
        codes = {name: code for code, name in enumerate(sorted(set(names)))}
        return [
            Descriptors(
                source.name,
                torch.tensor([codes[name] for name in names]),
                {source.stem: read_vectors(source)},
            )
        ]
    return [_file_set(source)]


def read_published_test(path: Path, part: str) -> Tensor:
    """Read the ``query`` or ``db`` embeddings (N, D) float32 of a file ``test/DATASET/NAME.pkl``.

    Raises DatasetError for a file of another layout.
    """
    content = read_pickle(path)
    if not isinstance(content, Mapping) or part not in content:
        found = ", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__
        raise DatasetError(f"{path} should be a dict with query and db, got {found}")
    return _matrix(content[part], path)


def _published_set(folder: Path, split: str) -> Descriptors:
    files = sorted(file for file in (folder / "train").glob("*.pkl") if _CACHED not in file.stem)
    annotations = sorted((folder / "annotations").glob("*.pkl"))
    if not files or len(annotations) != 1:
        raise DatasetError(
            f"{folder} should hold one file annotations/*.pkl and descriptors train/*.pkl, got "
            f"{len(annotations)} and {len(files)}"
        )
    clusters = _at(read_pickle(annotations[0]), (split, "cluster"), annotations[0])
    labels = torch.as_tensor(np.asarray(clusters)).long()
    views = {file.stem: _matrix(_at(read_pickle(file), (split,), file), file) for file in files}
    return Descriptors(annotations[0].stem, labels, views)


def _at(content: Any, keys: tuple[str, ...], path: Path) -> Any:
    for key in keys:
        if not isinstance(content, Mapping) or key not in content:
            raise DatasetError(f"{path} should hold {'/'.join(keys)} as CSA's files do, got no {key!r}")
        content = content[key]
    return content


def _matrix(values: Any, path: Path) -> Tensor:
    try:
        matrix = torch.as_tensor(np.asarray(_rows(values), dtype=np.float32))
    except (TypeError, ValueError) as error:
        raise DatasetError(f"{path} should hold a matrix of numbers, got {type(values).__name__}") from error
    if matrix.ndim != 2:
        raise DatasetError(f"{path} should hold a matrix (items, width), got shape {tuple(matrix.shape)}")
    return matrix


def _rows(values: Any) -> Any:
    """The values, if rows of numbers; ValueError for deeper lists, which can repeat one another."""
    if not isinstance(values, list | tuple):
        return values
    rows = [row for row in values if isinstance(row, list | tuple)]
    if any(isinstance(number, list | tuple | np.ndarray) for row in rows for number in row):
        raise ValueError("its rows hold lists")
    if sum(map(len, rows)) > _MOST_NUMBERS:
        raise ValueError(f"it has more than {_MOST_NUMBERS:,} numbers in lists")
    return values


def _file_set(path: Path) -> Descriptors:
    arrays = {name: torch.as_tensor(array) for name, array in read_arrays(path).items()}
    labels = arrays.pop(_LABELS, None)
    if labels is None or labels.ndim != 1 or labels.is_floating_point():
        raise DatasetError(
            f"{path} should hold whole numbers (items,) as {_LABELS} beside its matrices; "
            "or give the labels as a file"
        )
    return Descriptors(path.stem, labels.long(), {name: array.float() for name, array in arrays.items()})
