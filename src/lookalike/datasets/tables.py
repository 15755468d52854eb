"""Datasets given as a table with columns ``path``, ``label`` and optionally ``split``, or as lists."""

from __future__ import annotations

import io
import re
from csv import reader as csv_rows
from functools import partial
from pathlib import Path

import pyarrow as pa
from pyarrow import csv, parquet

from lookalike.datasets.labeled import LabeledImages
from lookalike.datasets.listed import fields_of_lines, listed_images
from lookalike.datasets.splits import SPLITS, WHOLE, SplitReaders
from lookalike.errors import DatasetError, first_line

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")
COLUMNS = ("path", "label", "split")

_WHOLE = re.compile(r"0|-?[1-9]\d{0,17}")
_DECIMAL = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?")
_DIGITS = 15  # that a float keeps


def read_table(file: Path, *, as_text: tuple[str, ...] = ()) -> pa.Table:
    """Read a CSV, TSV or Parquet file; columns of a CSV named in ``as_text`` stay text.

    A CSV may be in UTF-8 or UTF-16, with a byte order mark or without, and its columns separated by
    commas, semicolons or tabs. Blanks around names and values don't count. A column is of numbers only
    if every value can be written back as it was: codes such as 007 and 12E4 stay text. Raises
    DatasetError if it can't be read.
    """
    try:
        if file.suffix.lower() == ".parquet":
            return parquet.read_table(file)
        text = decoded(file.read_bytes())
        header = text.lstrip("\r\n").split("\n", 1)[0]
        separator = max(",;\t", key=header.count) if file.suffix.lower() != ".tsv" else "\t"
        names = next(csv_rows([header], delimiter=separator), [])
        table = csv.read_csv(
            io.BytesIO(text.encode()),
            parse_options=csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
            ),
        )
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DatasetError(f"{file} can't be read as a table: {first_line(error)}") from error
    columns = {
        str(name).strip(): _typed(column.to_pylist(), is_text=str(name).strip() in as_text)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pa.table(columns)


def decoded(data: bytes) -> str:
    """Text in UTF-8 or, as its byte order mark says, UTF-16; raises ValueError for anything else."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16")
    return data.decode("utf-8-sig")


def _typed(values: list[str | None], *, is_text: bool) -> pa.Array:
    """Texts as numbers or truth values where each can be written back, else as they are, without blanks."""
    plain = [None if value is None else value.strip() or None for value in values]
    known = {value for value in plain if value is not None}
    if is_text or not known:
        return pa.array(plain, pa.string())
    if known <= {"true", "false"}:
        return pa.array([None if value is None else value == "true" for value in plain])
    if all(_WHOLE.fullmatch(value) for value in known):
        return pa.array([None if value is None else int(value) for value in plain])
    is_decimal = all(_DECIMAL.fullmatch(value) and len(value) <= _DIGITS for value in known)
    if is_decimal and len({float(value) for value in known}) == len(known):
        return pa.array([None if value is None else float(value) for value in plain])
    return pa.array(plain, pa.string())


def read_labeled_table(source: Path) -> SplitReaders:
    """Read a table with the columns ``path`` and ``label``, and ``split`` if there are several.

    Relative paths start at the table's folder. Raises DatasetError for missing columns and values.
    """
    table = read_table(source, as_text=COLUMNS)
    if missing := [name for name in COLUMNS[:2] if name not in table.column_names]:
        raise DatasetError(
            f"{source} has no column {' and no '.join(missing)} (it has {', '.join(table.column_names)}); "
            "name the columns path and label, and split if there are several"
        )
    rows = table.to_pylist()
    if empty := [i for i, row in enumerate(rows) if row["path"] in (None, "") or row["label"] in (None, "")]:
        raise DatasetError(
            f"{len(empty)} of {len(rows)} rows of {source} have no path or no label, the first is row "
            f"{empty[0] + 1}; complete or remove them"
        )
    parts: dict[str, list[tuple[Path, str]]] = {}
    for row in rows:
        pair = source.parent / str(row["path"]), str(row["label"])
        parts.setdefault(str(row.get("split") or WHOLE), []).append(pair)
    if WHOLE in parts and len(parts) > 1:
        raise DatasetError(
            f"{len(parts[WHOLE])} rows of {source} have no split while others have; complete it"
        )
    if not parts:
        raise DatasetError(f"{source} lists no images; check that it is complete")
    return {name: partial(listed_images, pairs, source) for name, pairs in parts.items()}


def lists_in(source: Path) -> dict[str, Path]:
    """Return the files of a folder that list a split, such as train.txt or query.csv, by split."""
    return {
        split: source / (split + suffix)
        for split in SPLITS
        for suffix in (".txt", *TABLE_SUFFIXES)
        if (source / (split + suffix)).is_file()
    }


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
    if file.suffix != ".txt":
        parts = read_labeled_table(file)
        if list(parts) != [WHOLE]:
            raise DatasetError(f"{file} lists one split, but has a column split; remove the column")
        return parts[WHOLE]()
    return listed_images(((file.parent / path, label) for path, label in fields_of_lines(file, 2)), file)
