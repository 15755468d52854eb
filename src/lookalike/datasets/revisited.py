"""Ground truth of the revisited Oxford and Paris benchmarks, and its images in a folder.

A file is a pickle of ``{"imlist": [...], "qimlist": [...], "gnd": [{"easy", "hard", "junk", "bbx"}]}``
as published with the benchmark, a pickle of the list ``gnd`` alone, or the same as JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lookalike.datasets.jsons import read_json
from lookalike.datasets.pickles import read_pickle
from lookalike.errors import DatasetError, UnreadableImageError
from lookalike.images import list_images

GRADES = ("easy", "hard", "junk")

Rows = tuple[int, ...]
QueryBox = tuple[float, float, float, float]


@dataclass(frozen=True, repr=False)
class RevisitedTruth:
    """Ground truth of each query: gallery rows of the same landmark, easy and hard, and junk rows."""

    name: str  # of the file, without gnd_ and its ending
    sha256: str  # of the file
    images: tuple[str, ...]  # name of each gallery row; empty if the file has none
    queries: tuple[str, ...]  # name of each query; empty if the file has none
    boxes: tuple[QueryBox | None, ...]  # of each query: left, top, right, bottom in pixels
    easy: tuple[Rows, ...]  # of each query: gallery rows, distinct and in none of the other two
    hard: tuple[Rows, ...]
    junk: tuple[Rows, ...]  # neither right nor wrong: removed from the ranking

    def __len__(self) -> int:
        return len(self.easy)

    def __repr__(self) -> str:
        return f"<RevisitedTruth {self.name}: {len(self)} queries, {self.n_images:,} images>"

    @property
    def n_images(self) -> int:
        """Number of gallery images; the least possible if the file does not name them."""
        named = (row for rows in (*self.easy, *self.hard, *self.junk) for row in rows)
        return len(self.images) or max(named, default=-1) + 1


def read_truth(path: str | Path) -> RevisitedTruth:
    """Read ground truth from a ``.pkl`` (without running code in it) or ``.json`` file.

    Raises DatasetError for a file that is missing, damaged or of another layout, and for an image that
    is listed twice for a query or is outside the gallery.
    """
    path = Path(path)
    content = read_json(path) if path.suffix.lower() == ".json" else read_pickle(path)
    whole = content if isinstance(content, Mapping) else {"gnd": content}
    entries = _list(whole.get("gnd"))
    if not entries or not all(isinstance(entry, Mapping) for entry in entries):
        raise DatasetError(
            f"{path} holds no list 'gnd' of queries, each with {', '.join(GRADES)}; give the benchmark's "
            "gnd file"
        )
    rows = {grade: tuple(_rows(entry, grade, i, path) for i, entry in enumerate(entries)) for grade in GRADES}
    truth = RevisitedTruth(
        name=path.stem.removeprefix("gnd_"),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
        images=_names(whole, "imlist"),
        queries=_names(whole, "qimlist"),
        boxes=tuple(_box(entry.get("bbx"), i, path) for i, entry in enumerate(entries)),
        **rows,
    )
    _check(truth, path)
    return truth


def find_images(names: Sequence[str], folder: str | Path) -> list[Path]:
    """Find the image file of each name, anywhere below the folder; names may omit the ending.

    Raises DatasetError for a missing folder, for names without a file and for names with several.
    """
    folder = Path(folder)
    try:
        files = list_images(folder)
    except UnreadableImageError as error:
        raise DatasetError(f"{error}; give the folder that holds the benchmark's images") from error
    found: dict[str, list[Path]] = {}
    for file in files:
        for name in {file.stem, file.name}:
            found.setdefault(name, []).append(file)
    if missing := [name for name in names if Path(name).name not in found]:
        raise DatasetError(
            f"{len(missing)} of {len(names)} images are not in {folder}, e.g. {missing[0]}; give the folder "
            "that holds the benchmark's images"
        )
    chosen = [found[Path(name).name] for name in names]
    for name, candidates in zip(names, chosen, strict=True):
        if len(candidates) > 1:
            raise DatasetError(
                f"{name} may be {candidates[0]} or {candidates[1]}; keep one of them in {folder}"
            )
    return [candidates[0] for candidates in chosen]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple | np.ndarray) else []


def _names(whole: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in _list(whole.get(key)))


def _rows(entry: Mapping[str, Any], grade: str, query: int, path: Path) -> Rows:
    if grade not in entry:
        raise DatasetError(
            f"{path}: query {query} has no list {grade!r}; it has {', '.join(map(str, entry))}"
        )
    try:
        rows = np.asarray(entry[grade]).reshape(-1)
        if rows.size and not np.all(rows == rows.astype(np.int64)):
            raise ValueError
    except (ValueError, TypeError, OverflowError) as error:
        raise DatasetError(
            f"{path}: {grade!r} of query {query} is no list of gallery rows, which are integers; "
            "fetch the file again"
        ) from error
    return tuple(rows.astype(np.int64).tolist())


def _box(value: Any, query: int, path: Path) -> QueryBox | None:
    if value is None:
        return None
    try:
        left, top, right, bottom = (float(side) for side in np.asarray(value, dtype=np.float64).reshape(-1))
    except (ValueError, TypeError) as error:
        raise DatasetError(f"{path}: 'bbx' of query {query} is not left, top, right, bottom") from error
    if not (left < right and top < bottom):
        raise DatasetError(f"{path}: 'bbx' of query {query} is empty: {left, top, right, bottom}")
    return left, top, right, bottom


def _check(truth: RevisitedTruth, path: Path) -> None:
    if truth.queries and len(truth.queries) != len(truth):
        raise DatasetError(f"{path} names {len(truth.queries)} queries and has ground truth of {len(truth)}")
    for query, lists in enumerate(zip(truth.easy, truth.hard, truth.junk, strict=True)):
        listed = [row for rows in lists for row in rows]
        if len(set(listed)) != len(listed):
            repeated = next(row for row in listed if listed.count(row) > 1)
            raise DatasetError(
                f"{path}: query {query} lists image {repeated} more than once among {', '.join(GRADES)}; "
                "each image has one grade"
            )
        if listed and not 0 <= min(listed) <= max(listed) < truth.n_images:
            raise DatasetError(
                f"{path}: query {query} lists images {min(listed)} to {max(listed)}, but the gallery has "
                f"{truth.n_images}"
            )
