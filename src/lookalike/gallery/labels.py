"""Metadata that people have: the folder that a file lies in, or a table with a column of paths."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lookalike.datasets.tables import read_table
from lookalike.errors import DatasetError, GalleryError
from lookalike.gallery.files import absolute

MetadataOf = Callable[[Path], Mapping[str, Any]]


def folder_labels(folder: str | Path) -> MetadataOf:
    """``label``: the name of the folder that a file lies in; none for files at the top."""
    top = Path(absolute(folder))

    def label_of(path: Path) -> Mapping[str, Any]:
        return {} if path.parent == top else {"label": path.parent.name}

    return label_of


def table_metadata(file: str | Path, *, column: str = "path", folder: str | Path | None = None) -> MetadataOf:
    """The columns of a CSV or Parquet file, by the path that one of them holds.

    Relative paths are below ``folder``, or below the folder of the file itself. Empty cells are left
    out. Raises GalleryError where the file can't be read or has no such column.
    """
    table = _read(Path(file))
    if column not in table.column_names:
        raise GalleryError(
            f"{file} has no column {column!r} (it has {', '.join(table.column_names)}); "
            "name the one with paths"
        )
    base = Path(folder) if folder is not None else Path(file).absolute().parent
    rows: dict[str, dict[str, Any]] = {}
    for row in table.to_pylist():
        path = row.pop(column)
        if path is not None:
            rows[absolute(base / str(path))] = {
                name: _plain(value) for name, value in row.items() if not _is_empty(value)
            }
    return lambda path: rows.get(absolute(path), {})


def combined_metadata(
    *, folders: str | Path | None = None, table: str | Path | None = None
) -> MetadataOf | None:
    """Labels from folders, metadata from a table, both, or None."""
    if table is None:
        return None if folders is None else folder_labels(folders)
    values = table_metadata(table)
    return values if folders is None else both(folder_labels(folders), values)


def both(first: MetadataOf, second: MetadataOf) -> MetadataOf:
    """What two sources say of a file; where they disagree, the second."""
    return lambda path: {**first(path), **second(path)}


def _read(file: Path) -> Any:
    try:
        return read_table(file)
    except DatasetError as error:
        raise GalleryError(str(error)) from error


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """A cell as a JSON type; dates and times in ISO 8601, which sorts as time does."""
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return float(value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    return value if isinstance(value, str | bool | int | float) else str(value)


def labeled_pairs(file: str | Path) -> list[tuple[Path, Path, bool]]:
    """Pairs of images that match or don't: columns ``a``, ``b`` (paths) and ``match`` (0/1, yes/no).

    Raises GalleryError for other columns or values.
    """
    table = _read(Path(file))
    if missing := {"a", "b", "match"} - set(table.column_names):
        raise GalleryError(f"{file} needs the columns a, b and match; it lacks {', '.join(sorted(missing))}")
    base = Path(file).absolute().parent
    return [
        (base / str(row["a"]), base / str(row["b"]), _truth(row["match"], file)) for row in table.to_pylist()
    ]


def _truth(value: object, file: str | Path) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "true", "yes"):
        return True
    if text in ("0", "false", "no"):
        return False
    raise GalleryError(f"the column match of {file} holds 1 or 0, yes or no; got {value!r}")
