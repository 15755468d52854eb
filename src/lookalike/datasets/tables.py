"""Datasets given as a table with columns ``path``, ``label`` and optionally ``split``, or as lists.

``read_table`` reads every table of the package, so that one cell means the same everywhere.
"""

from __future__ import annotations

import csv
import io
import math
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import parquet

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.listed import fields_of_lines, listed_images
from lookalike.datasets.splits import SPLITS, WHOLE, SplitReaders, split_name
from lookalike.datasets.texts import cleaned, label_text, read_text
from lookalike.errors import DatasetError, check_name, first_line

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
COLUMNS = ("path", "label", "split")
_SEPARATORS = ",;\t|"
_INTEGER = re.compile(r"0|-?[1-9][0-9]*")
_LARGEST = 2**53 - 1  # beyond it, a number is not the same in JSON of other programs
_OTHER_FORMATS = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "compressed by gzip",
    b"SQLi": "a database of SQLite",
}
_NO_VALUE = frozenset({"", "-", "na", "n/a", "#n/a", "nan", "null", "none"})  # of a column stated as numbers


@dataclass(frozen=True)
class Table:
    """Columns and rows of a table; an empty cell is None."""

    columns: tuple[str, ...]
    rows: tuple[dict[str, Any], ...]


def read_table(file: Path, *, as_text: Sequence[str] = (), types: Mapping[str, str] | None = None) -> Table:
    """Read a CSV, TSV or Parquet file. Raises DatasetError if it can't be read.

    A CSV is separated by commas, semicolons, tabs or bars, in UTF-8 or with a byte order mark. Blanks
    around cells and names are removed. A column of a CSV becomes numbers (or true and false) only if
    every cell is written as that number is written: 007, 12E4, 1.50 and 1,5 stay text, and so does a
    column in which a single cell is none, or in which 1 and 1.0 are to be told apart. ``types`` states
    the type of columns instead: one of ``COLUMN_TYPES``. Columns named in ``as_text``, in upper or lower
    case, have that name and stay text.
    """
    is_csv = not _is_parquet(file)
    table = _csv(file) if is_csv else _parquet(file)
    names = {_as_wanted(name, table.columns, as_text): name for name in table.columns}
    if len(names) < len(table.columns):
        twice = sorted(set(table.columns) - set(names.values()))
        raise DatasetError(f"{file} has {twice[0]!r} beside a column of that name in another case; rename it")
    types = dict(types or {})
    for name in types:
        check_name(f"a column of {file}", name, names)
        check_name("the type of a column", types[name], COLUMN_TYPES)
    columns: dict[str, list[Any]] = {}
    for name, written in names.items():
        cells = [row[written] for row in table.rows]
        if name in types:
            columns[name] = _stated(cells, types[name], f"{name!r} of {file}")
        elif name in as_text:
            columns[name] = [label_text(cell) or None for cell in cells]
        else:
            columns[name] = _inferred(cells) if is_csv else cells
    rows = tuple({name: columns[name][i] for name in columns} for i in range(len(table.rows)))
    return Table(tuple(names), rows)


def _is_parquet(file: Path) -> bool:
    """Whether the file is to be read as Parquet. Raises DatasetError for other formats than CSV."""
    start = b""
    with suppress(OSError):  # reading it will say why
        if not file.is_fifo():  # a pipe can be read but once
            with file.open("rb") as opened:
                start = opened.read(4)
    kind = next((kind for mark, kind in _OTHER_FORMATS.items() if start.startswith(mark)), None)
    if file.suffix.lower() in (".json", ".jsonl", ".ndjson"):
        kind = "JSON"
    if kind is not None:
        raise DatasetError(f"{file} is {kind}, and tables are read from CSV and Parquet; save it as CSV")
    return file.suffix.lower() == ".parquet" or start == b"PAR1"


def _as_wanted(name: str, columns: Sequence[str], wanted: Sequence[str]) -> str:
    """The wanted name that this column has in another case, unless a column has exactly that."""
    return next((each for each in wanted if each not in columns and each.lower() == name.lower()), name)


def _csv(file: Path) -> Table:
    text = read_text(file)
    separator, text = _separator(file, text)
    lines: list[tuple[int, list[str]]] = []
    reader = csv.reader(
        io.StringIO(text, newline=""), delimiter=separator, strict=True, skipinitialspace=True
    )
    try:
        lines = [
            (reader.line_num, [cleaned(c) for c in cells]) for cells in reader if any(map(cleaned, cells))
        ]
    except csv.Error as error:
        raise DatasetError(
            f"{file} can't be read as a table: line {reader.line_num}: {first_line(error)}"
        ) from error
    if not lines:
        raise DatasetError(f"{file} can't be read as a table: it is empty")
    header = [unicodedata.normalize("NFC", name) for name in lines[0][1]]
    while header and not header[-1]:
        header.pop()  # a separator at the end of each line
    _check_names(header, file)
    rows: list[dict[str, Any]] = []
    for number, cells in lines[1:]:
        if len(cells) < len(header) or any(cells[len(header) :]):
            raise DatasetError(
                f"{file} can't be read as a table: line {number} has {len(cells)} cells, "
                f"but there are {len(header)} columns"
            )
        rows.append({name: cell or None for name, cell in zip(header, cells, strict=False)})
    return Table(tuple(header), tuple(rows))


def _separator(file: Path, text: str) -> tuple[str, str]:
    """The separator of a CSV's cells, and its text without the line "sep=;" that Excel writes."""
    if stated := re.match(r"sep=(.)\r?\n", text):
        return stated[1], text[stated.end() :]
    if file.suffix.lower() == ".tsv":
        return "\t", text
    header = re.sub(r'"[^"]*"', "", text.lstrip().partition("\n")[0])
    return max(_SEPARATORS, key=header.count), text  # the first of equals


def _check_names(header: Sequence[str], file: Path) -> None:
    if not all(header):
        raise DatasetError(f"column {list(header).index('') + 1} of {file} has no name; name it or remove it")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise DatasetError(f"{file} has two columns {twice!r}; rename one of them")


def _parquet(file: Path) -> Table:
    try:
        table = parquet.read_table(file)
    except (OSError, pa.ArrowException) as error:
        raise DatasetError(f"{file} can't be read as a table: {first_line(error)}") from error
    names = [unicodedata.normalize("NFC", cleaned(name)) for name in table.column_names]
    _check_names(names, file)
    rows = table.rename_columns(names).to_pylist()
    return Table(tuple(names), tuple({name: _of_parquet(cell) for name, cell in row.items()} for row in rows))


def _of_parquet(cell: Any) -> Any:
    if isinstance(cell, bytes):
        cell = cell.decode(errors="replace")
    return unicodedata.normalize("NFC", cleaned(cell)) or None if isinstance(cell, str) else cell


def _inferred(cells: Sequence[str | None]) -> list[Any]:
    """The cells as numbers or truths if each is written as such; else as they are."""
    given = {cell for cell in cells if cell is not None}
    for kind in (_exact_number, {"true": True, "false": False}.get):
        values = {cell: kind(cell) for cell in given}
        is_exact = all(value is not None for value in values.values())
        if given and is_exact and len(set(values.values())) == len(given):
            return [None if cell is None else values[cell] for cell in cells]
    return [None if cell is None else unicodedata.normalize("NFC", cell) for cell in cells]


def _exact_number(cell: str) -> int | float | None:
    """The number that is written exactly so, or None."""
    if _INTEGER.fullmatch(cell):
        return int(cell) if abs(int(cell)) <= _LARGEST else None
    if re.fullmatch(r"-?[0-9]+\.[0-9]+", cell) and repr(float(cell)) == cell:
        return float(cell)
    return None


def _stated(cells: Sequence[Any], type: str, what: str) -> list[Any]:
    return [_of_type(cell, type, f"row {i} of column {what}") for i, cell in enumerate(cells, start=1)]


def _of_type(cell: Any, type: str, what: str) -> Any:
    text = label_text(cell)
    if type == "text":
        return text or None
    if text.lower() in _NO_VALUE:
        return None
    try:
        return COLUMN_TYPES[type](text)
    except (ValueError, KeyError) as error:
        raise DatasetError(f"{what} holds {text!r}, which is no {type}; correct it or state text") from error


def _comma_number(text: str) -> float:
    """A number with a decimal comma, and points or blanks between thousands."""
    return _number(re.sub(r"[.\s'\u202f]", "", text).replace(",", "."))


def _truth(text: str) -> bool:
    return {"true": True, "false": False, "yes": True, "no": False, "1": True, "0": False}[text.lower()]


def _whole_number(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    if "_" in text or not math.isfinite(number := float(text)):
        raise ValueError(text)
    return number


COLUMN_TYPES: Mapping[str, Callable[[str], Any]] = {
    "text": str,
    "integer": _whole_number,
    "number": _number,
    "decimal-comma": _comma_number,
    "boolean": _truth,
}


def read_labeled_table(source: Path) -> SplitReaders:
    """Read a table with the columns ``path`` and ``label``, and ``split`` if there are several.

    Relative paths start at the table's folder. Raises DatasetError for missing columns and values.
    """
    table = read_table(source, as_text=COLUMNS)
    if missing := [name for name in COLUMNS[:2] if name not in table.columns]:
        raise DatasetError(
            f"{source} has no column {' and no '.join(missing)} (it has {', '.join(table.columns)}); "
            "name the columns path and label, and split if there are several"
        )
    rows = table.rows
    if empty := [i for i, row in enumerate(rows) if row["path"] is None or row["label"] is None]:
        raise DatasetError(
            f"{len(empty)} of {len(rows)} rows of {source} have no path or no label, the first is row "
            f"{empty[0] + 1}; complete or remove them"
        )
    parts: dict[str, list[tuple[Path, str]]] = {}
    for row in rows:
        pair = source.parent / row["path"], row["label"]
        parts.setdefault(split_name(row.get("split") or WHOLE), []).append(pair)
    if WHOLE in parts and len(parts) > 1:
        raise DatasetError(
            f"{len(parts[WHOLE])} rows of {source} have no split while others have; complete it"
        )
    if not parts:
        raise DatasetError(f"{source} lists no images; check that it is complete")
    return {name: partial(listed_images, pairs, source) for name, pairs in parts.items()}


def lists_in(source: Path) -> dict[str, Path]:
    """Return the files of a folder that list a split, such as train.txt or Query.csv, by split."""
    found: dict[str, Path] = {}
    for file in sorted(source.iterdir()) if source.is_dir() else ():
        split = file.stem.lower()
        if split in SPLITS and file.suffix.lower() in (".txt", *TABLE_SUFFIXES) and file.is_file():
            found[split] = file
    return found


def read_lists(source: Path) -> SplitReaders:
    """Read a list for each split, such as query.txt and gallery.txt, with a path and a label per line.

    Paths in a ``.txt`` contain no white space; in a table they may. Relative paths start at the folder.
    Raises DatasetError for a folder without lists.
    """
    found = lists_in(source)
    if not found:
        raise DatasetError(f"{source} has no list such as train.txt, query.csv or gallery.parquet")
    return {split: partial(_read_list, file) for split, file in found.items()}


def _read_list(file: Path) -> LabeledImages:
    if file.suffix.lower() != ".txt":
        parts = read_labeled_table(file)
        if list(parts) != [WHOLE]:
            raise DatasetError(f"{file} lists one split, but has a column split; remove the column")
        return parts[WHOLE]()
    rows = fields_of_lines(file, 2)
    return listed_images(((file.parent / path, label_text(label)) for path, label in rows), file)
