"""Lists as tables: ``--out FILE`` writes CSV, or Arrow where the file's ending says so."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lookalike.cli.printing import keep_picture, write_text

ENDINGS = ".csv, .parquet, .arrow or .feather"
_ARROW = (".parquet", ".arrow", ".feather")


def is_arrow(path: Path) -> bool:
    """Whether a table of this name holds Arrow columns instead of text."""
    return path.suffix.lower() in _ARROW


def write_rows(
    path: Path, rows: Sequence[Mapping[str, Any]] | Any, text: Callable[[], str] | None = None
) -> None:
    """Write rows, or results that ``plugs.tables`` knows; ``text`` makes the CSV where rows alone do not.

    Raises LookalikeError if it can't be written, and for a picture that it would replace.
    """
    if not is_arrow(path):
        write_text(path, _csv(rows) if text is None else text())
        return
    from lookalike.plugs.tables import write_table

    keep_picture(path)
    write_table(rows, path)


def _csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """Rows as CSV, with columns in the order of their first mention."""
    text = io.StringIO()
    names = list(dict.fromkeys(name for row in rows for name in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
