"""Metadata of images from their folder names or from a table with a column of paths."""

from __future__ import annotations

import datetime
import decimal
import math
import posixpath
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, final

from lookalike.datasets.listed import existing_form
from lookalike.datasets.tables import Table, read_table
from lookalike.datasets.texts import label_text
from lookalike.errors import DatasetError, GalleryError, UnknownNameError
from lookalike.gallery.files import absolute
from lookalike.images import file_bytes, is_remote, remote_uri
from lookalike.images.tars import is_tar

MetadataOf = Callable[[Path], Mapping[str, Any]]


@final
class FolderLabels:
    """Labels by the names of folders; see ``folder_labels``."""

    def __init__(self, folder: Path) -> None:
        self._top = folder

    def __call__(self, path: Path) -> Mapping[str, Any]:
        """Return the label of a picture; None, which removes one, in the folder or a tar itself."""
        is_within = path.parent != self._top and not is_tar(path.parent)
        return {"label": label_text(path.parent.name) if is_within else None}

    def of_unmoved(self, path: Path) -> Mapping[str, Any]:
        """Return the label of a picture that lies where it was."""
        return {} if path.parent == self._top else self(path)

    def remarks(self, paths: Sequence[str]) -> list[str]:
        """Say which pictures get no label."""
        if without := [path for path in paths if Path(path).parent == self._top]:
            return [
                f"{len(without):,} of {len(paths):,} pictures lie in {self._top} itself, not in a class's "
                f"folder, and get no label, such as {without[0]!r}"
            ]
        return []


def folder_labels(folder: str | Path) -> FolderLabels:
    """Return a function from a path to its ``label``: the name of its folder.

    What lies in ``folder`` itself gets no label, and what was moved there loses the one that it had.
    """
    return FolderLabels(Path(absolute(folder)))


@final
class TableMetadata:
    """Rows of a table by the path of a picture; see ``table_metadata``."""

    def __init__(self, file: str, rows: Mapping[str, tuple[str, Mapping[str, Any]]], twice: str) -> None:
        self._file, self._rows, self._twice = file, rows, twice

    def paths(self) -> list[str]:
        """Return the paths of the rows, each as it lies on the disk or at ``s3://``."""
        return [path if is_remote(path) else str(existing_form(Path(path))) for path in self._rows]

    def __call__(self, path: Path) -> Mapping[str, Any]:
        """Return the row of a picture; empty if it has none."""
        return self._rows.get(_key(path), ("", {}))[1]

    def remarks(self, paths: Sequence[str]) -> list[str]:
        """Say which rows and which of these pictures do not fit each other, with an example of each."""
        pictures = {_key(path): path for path in paths}
        fitting = self._rows.keys() & pictures.keys()
        said = (
            [f"{self._file} has several rows for {self._twice}; the last one counts"] if self._twice else []
        )
        rowless = [path for key, path in pictures.items() if key not in fitting]
        unused = [written for key, (written, _) in self._rows.items() if key not in fitting]
        if not paths or not rowless:
            return said
        n = f"{len(fitting):,} of {len(self._rows):,} rows of {self._file} match a picture"
        start = (
            "no row matches"
            if not fitting
            else "few rows match"
            if 2 * len(fitting) < len(self._rows)
            else ""
        )
        if unused:
            row = f"the row {unused[0]!r} is no picture" + (
                "" if fitting else f" (relative paths start at {_folder_of(self._file)})"
            )
            said.append(f"{start + ': ' if start else ''}{n}: {row}, the picture {rowless[0]!r} has no row")
        else:
            said.append(f"{len(rowless):,} of {len(pictures):,} pictures have no row, such as {rowless[0]!r}")
        return said


def table_metadata(
    file: str | Path,
    *,
    column: str = "path",
    folder: str | Path | None = None,
    types: Mapping[str, str] | None = None,
) -> TableMetadata:
    """Return a function from a path to its row of a CSV or Parquet file, as a dictionary.

    ``column`` holds the paths, which may be at ``s3://``, as the table may; relative ones start at
    ``folder``, or at the folder of the table. An empty
    cell is None: it removes what was stored of this field before. A cell is text unless its whole column
    is numbers, each written as the number is written; ``types`` states the type of a column: text,
    integer, number, decimal-comma or boolean. Raises GalleryError if the file can't be read or lacks the
    column.
    """
    file = remote_uri(file) if is_remote(file) else str(file)
    table = _read(file, as_text=(column,), types=types)
    if column not in table.columns:
        raise GalleryError(
            f"{file} has no column {column!r} (it has {', '.join(table.columns)}); "
            "name the column that holds paths"
        )
    base = _folder_of(file) if folder is None else absolute(folder)
    rows: dict[str, tuple[str, Mapping[str, Any]]] = {}
    twice = ""
    for row in table.rows:
        if (path := row[column]) is not None:
            values = {
                name: None if _is_empty(value) else _plain(value)
                for name, value in row.items()
                if name != column
            }
            key = _key(_joined(base, path.replace("\\", "/")))
            if key in rows and rows[key][1] != values:
                twice = path
            rows[key] = path, values
    return TableMetadata(file, rows, twice)


def _folder_of(file: str) -> str:
    return absolute(file).rpartition("/")[0] if is_remote(file) else str(Path(file).absolute().parent)


def _joined(base: str, path: str) -> str:
    """A path of a table that lies in ``base``; either may be at ``s3://``."""
    if is_remote(path) or not is_remote(base):
        return path if is_remote(path) else str(Path(base) / path)
    return remote_uri("s3:/" + posixpath.normpath(f"{base.removeprefix('s3://')}/{path}"))


def _key(path: str | Path) -> str:
    """A path as tables and disks agree on it: composed letters (NFC), slashes."""
    return unicodedata.normalize("NFC", absolute(path)).replace("\\", "/")


def combined_metadata(
    *,
    folders: str | Path | None = None,
    table: str | Path | None = None,
    types: Mapping[str, str] | None = None,
) -> MetadataOf | None:
    """Return the metadata function for folder labels, for a table, or for both; None for neither.

    Raises GalleryError for a table that can't be read, and for types without a table.
    """
    if table is None:
        if types:
            raise GalleryError("types are those of a table's columns; give the table")
        return None if folders is None else folder_labels(folders)
    values = table_metadata(table, types=types)
    return values if folders is None else merged_metadata(folder_labels(folders), values)


@final
class MergedMetadata:
    """The metadata of two functions; the second takes precedence where it has a value."""

    def __init__(self, first: MetadataOf, second: MetadataOf) -> None:
        self._parts = first, second

    def __call__(self, path: Path) -> Mapping[str, Any]:
        """Return the values of both for a picture."""
        first, second = self._parts
        return _merged(first(path), second(path))

    def of_unmoved(self, path: Path) -> Mapping[str, Any]:
        """Return the values of both for a picture that lies where it was."""
        first, second = (getattr(part, "of_unmoved", part) for part in self._parts)
        return _merged(first(path), second(path))

    def remarks(self, paths: Sequence[str]) -> list[str]:
        """Return the remarks of both."""
        return [remark for part in self._parts for remark in table_remarks(part, paths)]


def _merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    return {**first, **{n: value for n, value in second.items() if value is not None or n not in first}}


def merged_metadata(first: MetadataOf, second: MetadataOf) -> MergedMetadata:
    """Return the metadata of both functions; the second takes precedence."""
    return MergedMetadata(first, second)


def table_remarks(metadata: object, paths: Sequence[str]) -> tuple[str, ...]:
    """Say how tables and folders fit these pictures; nothing for metadata from elsewhere."""
    if isinstance(metadata, FolderLabels | TableMetadata | MergedMetadata):
        return tuple(metadata.remarks(paths))
    return ()


def _read(file: str | Path, **options: Any) -> Table:
    if not is_remote(file):
        return _read_on_disk(Path(file), str(file), options)
    uri = remote_uri(file)
    with TemporaryDirectory() as folder:
        copy = Path(folder) / uri.rpartition("/")[2]
        copy.write_bytes(file_bytes(uri))
        return _read_on_disk(copy, uri, options)


def _read_on_disk(file: Path, shown: str, options: Mapping[str, Any]) -> Table:
    try:
        return read_table(file, **options)
    except (DatasetError, UnknownNameError) as error:
        raise GalleryError(str(error).replace(str(file), shown)) from error


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
    table = _read(Path(file), as_text=("a", "b", "match"))
    if missing := {"a", "b", "match"} - set(table.columns):
        raise GalleryError(f"{file} needs the columns a, b and match; it lacks {', '.join(sorted(missing))}")
    base = Path(file).absolute().parent
    return [
        (base / (row["a"] or ""), base / (row["b"] or ""), _truth(row["match"], file)) for row in table.rows
    ]


def _truth(value: object, file: str | Path) -> bool:
    text = str(value).strip().lower()
    if text in ("1", "true", "yes"):
        return True
    if text in ("0", "false", "no"):
        return False
    raise GalleryError(f"the column match of {file} must hold 1 or 0, yes or no; got {value!r}")
