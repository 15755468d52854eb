"""The table of many queries: a CSV file that grows query by query and survives an interruption."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from lookalike.cli.printing import keep_picture
from lookalike.errors import LookalikeError, writing

if TYPE_CHECKING:
    from lookalike.gallery import Hit
    from lookalike.store.records import Record

_COLUMNS = ("query", "rank", "path", "similarity", "probability")


@final
class QueryTable:
    """A CSV file with a row for each hit of each query, written as the queries are finished.

    Beside it lies FILE.progress until ``close``: the settings, and after which byte each query is finished.
    With it a second run of the same settings goes on where the first one stopped. Raises LookalikeError where
    the file was begun with other settings, and where it can't be written.
    """

    def __init__(self, path: Path, fields: Sequence[str], settings: Mapping[str, Any]) -> None:
        self.path = path
        self._progress = path.with_name(path.name + ".progress")
        # A field named like a column of ours keeps both readable.
        self._fields = {name: f"metadata.{name}" if name in _COLUMNS else name for name in fields}
        self._settings = json.loads(json.dumps({**settings, "fields": list(fields)}, default=str))
        self.finished: dict[str, int] = {}  # query -> end of its last row in bytes
        self._resume()
        if not self.finished:
            self._begin()

    def add(self, query: str, hits: Sequence[Hit]) -> None:
        """Write the hits of a query; a query without hits gets one row with nothing but its name."""
        rows = [self._row(query, hit) for hit in hits] or [{"query": query}]
        with writing(self.path):
            with self.path.open("ab") as file:
                file.write(self._text(rows))
                end = file.tell()
            with self._progress.open("a", encoding="utf-8") as file:
                file.write(json.dumps({"query": query, "end": end}) + "\n")
        self.finished[query] = end

    def close(self) -> None:
        """Say that all queries are finished: the next run begins anew."""
        with writing(self._progress):
            self._progress.unlink(missing_ok=True)

    def _begin(self) -> None:
        keep_picture(self.path)
        with writing(self.path):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._progress.unlink(missing_ok=True)
            header = io.StringIO()
            csv.writer(header, lineterminator="\n").writerow([*_COLUMNS, *self._fields.values()])
            self.path.write_bytes(_encoded(header.getvalue()))
            self._progress.write_text(json.dumps(self._settings) + "\n", encoding="utf-8")

    def _resume(self) -> None:
        """Take over what an interrupted run has finished, and cut off what it has not."""
        if self.path.exists() and not self.path.is_file():
            raise LookalikeError(f"{self.path} is no regular file, which can be continued; name another one")
        if not self._progress.is_file() or not self.path.exists():
            return
        with writing(self.path):
            text = self._progress.read_text(encoding="utf-8", errors="replace")
            first, *lines = text.splitlines(keepends=True) or [""]
            if (begun := _parsed(first)) is None and first.endswith("\n"):
                raise LookalikeError(
                    f"{self._progress} is not what belongs to {self.path.name}; delete it to begin anew"
                )
            if begun is not None and begun != self._settings:
                names = [name for name in self._settings if self._settings[name] != begun.get(name)]
                raise LookalikeError(
                    f"{self.path} was begun with another {' and '.join(names) or 'setting'} and is not "
                    f"finished; repeat that command, delete {self._progress.name}, or choose another file"
                )
            size = self.path.stat().st_size
            for line in lines:
                done = _parsed(line)
                query, end = (None, None) if done is None else (done.get("query"), done.get("end"))
                if not isinstance(query, str) or type(end) is not int or not 0 < end <= size:
                    break
                self.finished[query] = end
            if self.finished:
                with self.path.open("r+b") as file:
                    file.truncate(max(self.finished.values()))
                kept = [{"query": query, "end": end} for query, end in self.finished.items()]
                text = "".join(json.dumps(each) + "\n" for each in [self._settings, *kept])
                self._progress.write_text(text, encoding="utf-8")

    def _row(self, query: str, hit: Hit) -> dict[str, Any]:
        probability = "" if hit.probability is None else hit.probability
        own = {"query": query, "rank": hit.rank, "path": hit.record.path, "similarity": hit.similarity}
        values = {
            self._fields[name]: _cell(value) for name, value in hit.metadata.items() if name in self._fields
        }
        return {**own, "probability": probability, **values}

    def _text(self, rows: Sequence[Mapping[str, Any]]) -> bytes:
        text = io.StringIO()
        writer = csv.DictWriter(text, [*_COLUMNS, *self._fields.values()], restval="", lineterminator="\n")
        writer.writerows(rows)
        return _encoded(text.getvalue())


def typed_rows(path: Path, records: Iterable[Record]) -> list[dict[str, Any]]:
    """Return the rows of a finished table: numbers as numbers, and metadata as the records have it."""
    metadata = {record.path: record.metadata for record in records}
    rows: list[dict[str, Any]] = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            found = metadata.get(row["path"], {})
            values: dict[str, Any] = {name: row[name] or None for name in row}
            values |= {
                name: found.get(name.removeprefix("metadata.")) for name in row if name not in _COLUMNS
            }
            values["rank"] = None if not row["rank"] else int(row["rank"])
            for name in ("similarity", "probability"):
                values[name] = None if not row[name] else float(row[name])
            rows.append(values)
    return rows


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", errors="backslashreplace")


def _cell(value: Any) -> Any:
    """A value of metadata for a cell: plain values as they are, lists and objects as JSON."""
    return "" if value is None else value if isinstance(value, str | int | float) else json.dumps(value)


def _parsed(line: str) -> dict[str, Any] | None:
    """A whole line of the progress file; None for one that was cut off."""
    try:
        value = json.loads(line) if line.endswith("\n") else None
    except ValueError:
        return None
    return value if isinstance(value, dict) else None
