"""Pairs of images that show one thing, to learn a whitening from: a table, or the published pickles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lookalike.datasets.pickles import read_pickle
from lookalike.datasets.tables import read_table
from lookalike.errors import DatasetError

_PUBLISHED = "-whiten"  # retrieval-SfM-120k-whiten.pkl


@dataclass(frozen=True)
class WhiteningPairs:
    """Images, and pairs of them by position."""

    name: str  # of the set
    images: tuple[Path, ...]
    queries: tuple[int, ...]
    positives: tuple[int, ...]


def read_whitening_pairs(file: Path, images: Path | None = None) -> WhiteningPairs:
    """Read pairs from a table or a pickle; paths are relative to ``images``, or to the table's folder.

    A table names two images in each row, in the columns ``query`` and ``match``. A pickle is one of those
    published with Radenović et al., TPAMI 2019: ``cids`` names all images, ``qidxs`` and ``pidxs`` the
    positions of the pairs; image ``...abcdef`` lies in ``images/ef/cd/ab/``. Raises DatasetError.
    """
    if file.suffix.lower() == ".pkl":
        return _of_pickle(file, images)
    root = file.parent if images is None else images
    table = read_table(file, as_text=("query", "match"))
    if not {"query", "match"} <= set(table.columns):
        raise DatasetError(
            f"{file} has the columns {', '.join(table.columns)}; name those of the pairs query and match"
        )
    rows = [tuple(str(row[side] or "").strip() for side in ("query", "match")) for row in table.rows]
    if not rows or not all(all(row) for row in rows):
        raise DatasetError(f"{file} should name a query and a match in every row; complete or remove rows")
    position = {name: i for i, name in enumerate(dict.fromkeys(name for row in rows for name in row))}
    paths = _existing([root / name for name in position], file)
    queries, positives = ([position[name] for name in names] for names in zip(*rows, strict=True))
    return WhiteningPairs(file.stem, paths, tuple(queries), tuple(positives))


def _of_pickle(file: Path, images: Path | None) -> WhiteningPairs:
    if images is None:
        raise DatasetError(
            f"{file} names images by their hashes only; give the folder where they lie (--images)"
        )
    content = read_pickle(file)
    keys = ("cids", "qidxs", "pidxs")
    if not isinstance(content, Mapping) or not set(keys) <= content.keys():
        raise DatasetError(f"{file} should hold {', '.join(keys)}, as the published SET-whiten.pkl do")
    names = [str(name) for name in content["cids"]]
    queries, positives = (_positions(content[key], len(names), f"{key} of {file}") for key in keys[1:])
    if not queries or len(queries) != len(positives):
        raise DatasetError(f"{file} pairs {len(queries)} queries with {len(positives)} positives")
    if short := [name for name in names if len(name) < 6]:
        raise DatasetError(f"{file} names an image {short[0]!r}; published names have six letters or more")
    paths = [images / name[-2:] / name[-4:-2] / name[-6:-4] / name for name in names]
    return WhiteningPairs(file.stem.removesuffix(_PUBLISHED), _existing(paths, file), queries, positives)


def _positions(values: object, n: int, what: str) -> tuple[int, ...]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.size and array.dtype.kind not in "iu"):
        raise DatasetError(f"{what} should be a list of positions")
    if array.size and not 0 <= int(array.min()) <= int(array.max()) < n:
        raise DatasetError(f"{what} should lie in 0 to {n - 1}")
    return tuple(int(value) for value in array)


def _existing(paths: Sequence[Path], file: Path) -> tuple[Path, ...]:
    if missing := [path for path in paths if not path.is_file()]:
        raise DatasetError(
            f"{len(missing)} of {len(paths)} images that {file} names are not there, e.g. {missing[0]}"
        )
    return tuple(paths)
