"""Logs of a training: a row per step, a row per evaluation, and a line a minute to be read by people."""

from __future__ import annotations

import csv
import datetime
import time
from collections.abc import Mapping
from pathlib import Path
from typing import final


@final
class CsvLog:
    """A table with a column ``step`` that is written row by row, so that an interrupted run keeps it."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def begin(self, after_step: int) -> None:
        """Continue after a step; rows of later steps, from an interrupted run, are dropped."""
        n_kept = sum(row["step"] <= after_step for row in self.rows())
        if not n_kept:
            self._path.unlink(missing_ok=True)
            return
        lines = self._path.read_text(encoding="utf-8").splitlines(keepends=True)
        beside = self._path.with_name(f".{self._path.name}")
        beside.write_text("".join(lines[: 1 + n_kept]), encoding="utf-8")
        beside.replace(self._path)

    def add(self, row: Mapping[str, float]) -> None:
        """Append a row to the file."""
        is_new = not self._path.exists()
        with self._path.open("a", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(row), lineterminator="\n")
            if is_new:
                writer.writeheader()
            writer.writerow(row)

    def rows(self) -> list[dict[str, float]]:
        """Read all complete rows."""
        if not self._path.exists():
            return []
        with self._path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [{name: float(value) for name, value in row.items()} for row in rows if all(row.values())]


@final
class MinuteLog:
    """A text file that gets a line a minute, with date and time, and one for each event that matters."""

    _SECONDS = 60.0

    def __init__(self, path: Path) -> None:
        self._path, self._last = path, -float("inf")

    def add(self, text: str, *, now: bool = False) -> None:
        """Append the text if the last line is a minute old, or ``now``."""
        if not now and time.monotonic() - self._last < self._SECONDS:
            return
        stamp = datetime.datetime.now().astimezone().isoformat(timespec="seconds")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{stamp} {text}\n")
        self._last = time.monotonic()
