"""Pairs of one's own: a table pairs.csv that names two images in each row, and what is known of them."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path

from lookalike.datasets.jsons import box_of_corners
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import listed_file, name_in
from lookalike.datasets.pairs.pair import ImagePair, KnownImage
from lookalike.datasets.pairs.sequences import homography_of
from lookalike.datasets.tables import read_table
from lookalike.errors import DatasetError, replacing

PAIR_TABLE = "pairs.csv"
PAIR_COLUMNS = (
    "query", "match", "query_label", "match_label", "query_mask", "match_mask", "query_box", "match_box",
    "homography",
)  # fmt: skip

_Row = Mapping[str, str]


def read_pair_table(source: Path) -> Candidates:
    """Pairs of a table with the columns ``query`` and ``match``, or of ``pairs.csv`` in a folder.

    Other columns may be absent, and empty in rows: ``query_label``, ``match_label``; ``query_mask``,
    ``match_mask`` (image files, or outlines of labelme); ``query_box``, ``match_box`` ("left top right
    bottom"); ``homography`` (nine numbers, row by row, of pixels of the query to pixels of the match).
    Numbers are separated by spaces, relative paths start at the table's folder.
    """
    file = source / PAIR_TABLE if source.is_dir() else source
    root = file.parent
    rows = _rows(file)
    number_of: dict[tuple[str, str], int] = {}
    matches: dict[str, list[str]] = {}
    for number, row in enumerate(rows, start=1):
        names = row["query"], row["match"]
        if not all(names):
            raise DatasetError(f"row {number} of {file} names no query or no match; complete or remove it")
        if names in number_of:
            raise DatasetError(f"rows {number_of[names]} and {number} of {file} are the same pair; keep one")
        number_of[names] = number
        matches.setdefault(names[0], []).append(names[1])

    def pair(query: str, match: str) -> ImagePair:
        number = number_of[query, match]
        row, what = rows[number - 1], f"{file}: row {number}"
        numbers = row["homography"].split()
        return ImagePair(
            _known(row, "query", file, what),
            _known(row, "match", file, what),
            root.resolve().name if file.name == PAIR_TABLE else file.stem,
            homography_of(numbers, f"{what}: homography") if numbers else None,
            root=root,
        )

    return Candidates(matches, {row["query"]: row["query_label"] for row in rows}, pair)


def write_pairs(folder: str | Path, pairs: Iterable[ImagePair]) -> Path:
    """Write ``pairs.csv`` into a folder, for `read_pairs`, and return its path; parts are not written.

    Files in the folder are named relative to it, others by their whole path. Raises DatasetError if it
    can't be written.
    """
    folder = Path(folder)
    with (
        replacing(folder / PAIR_TABLE, DatasetError) as beside,
        beside.open("w", encoding="utf-8", newline="") as file,
    ):
        table = csv.DictWriter(file, PAIR_COLUMNS)
        table.writeheader()
        table.writerows(_row(pair, folder) for pair in pairs)
    return folder / PAIR_TABLE


def is_pair_table(file: Path) -> bool:
    """Whether a table has the columns query and match. Raises DatasetError if it can't be read."""
    return {"query", "match"} <= set(read_table(file).columns)


def _rows(file: Path) -> list[dict[str, str]]:
    table = read_table(file, as_text=PAIR_COLUMNS)
    if missing := [name for name in ("query", "match") if name not in table.columns]:
        raise DatasetError(
            f"{file} has no column {' and no '.join(missing)} (it has {', '.join(table.columns)}); "
            "name the columns query and match"
        )
    return [{name: row.get(name) or "" for name in PAIR_COLUMNS} for row in table.rows]


def _known(row: _Row, side: str, file: Path, what: str) -> KnownImage:
    mask, box = row[f"{side}_mask"], row[f"{side}_box"]
    return KnownImage(
        listed_file(file.parent / row[side], file),
        row[f"{side}_label"],
        listed_file(file.parent / mask, file) if mask else None,
        box_of_corners(box.split(), f"{what}: {side}_box") if box else None,
    )


def _row(pair: ImagePair, folder: Path) -> dict[str, str]:
    row = {"homography": "" if pair.homography is None else _text(pair.homography.flatten().tolist())}
    for side, image in (("query", pair.query), ("match", pair.match)):
        row[side] = _name(folder, image.path)
        row[f"{side}_label"] = image.label
        row[f"{side}_mask"] = "" if image.mask is None else _name(folder, image.mask)
        row[f"{side}_box"] = "" if image.box is None else _text(image.box)
    return row


def _name(folder: Path, path: Path) -> str:
    return name_in(folder.absolute(), path.absolute())


def _text(numbers: Iterable[float]) -> str:
    return " ".join(map(repr, map(float, numbers)))
