"""Metadata of images from their folder names or from a table with a column of paths."""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookalike.datasets.tables import read_table
from lookalike.errors import DatasetError, GalleryError
from lookalike.gallery.files import absolute

MetadataOf = Callable[[Path], Mapping[str, Any]]


def folder_labels(folder: str | Path) -> MetadataOf:
    """Return a function from a path to its ``label``: the parent folder's name, None in ``folder`` itself."""
    top = Path(absolute(folder))

    def label_of(path: Path) -> Mapping[str, Any]:
        return {"label": None if path.parent == top else path.parent.name}

    return label_of


def table_metadata(file: str | Path, *, column: str = "path", folder: str | Path | None = None) -> MetadataOf:
    """Return a function from a path to its row of a CSV or Parquet file, as a dictionary.

    ``column`` holds the paths; relative ones start at ``folder``, or at the folder of the table.
    Empty table cells are left out. Raises GalleryError if the file can't be read or lacks the column.
    """
    table = _read(Path(file))
    if column not in table.column_names:
        raise GalleryError(
            f"{file} has no column {column!r} (it has {', '.join(table.column_names)}); "
            "name the column that holds paths"
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
    """Return the metadata function for folder labels, for a table, or for both; None for neither."""
    if table is None:
        return None if folders is None else folder_labels(folders)
    values = table_metadata(table)
    return values if folders is None else merged_metadata(folder_labels(folders), values)


def merged_metadata(first: MetadataOf, second: MetadataOf) -> MetadataOf:
    """Return the metadata of both functions; the second takes precedence."""
    return lambda path: {**first(path), **second(path)}


def table_remarks(metadata: object, paths: Sequence[str]) -> tuple[str, ...]:
    """Say how the rows of a table fit these pictures; nothing for metadata that comes from no table."""
    return ()


def _read(file: Path) -> Any:
    try:
        return read_table(file)
    except DatasetError as error:
        raise GalleryError(str(error)) from error


def _is_empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def _plain(value: Any) -> Any:
    """A table cell as a JSON type; dates and times in ISO 8601, which sorts chronologically."""
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
    """Read labeled pairs from a table with columns ``a``, ``b`` (paths) and ``match`` (0/1, yes/no).

    Relative paths start at the folder of the table. Raises GalleryError for missing columns and for
    other values of ``match``.
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
    raise GalleryError(f"the column match of {file} must hold 1 or 0, yes or no; got {value!r}")
