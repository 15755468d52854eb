"""What was forgotten lately: whole rows in files beside the table, so that earlier versions need not stay."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import final

import pyarrow as pa
import pyarrow.parquet as pq

_KEPT = datetime.timedelta(days=7)
_LEAST, _MOST = 4, 32  # files; the least are kept longer, for clocks that were set wrong


@final
class ForgottenRows:
    """Rows that commits took away, by the version of the table that had them last; for a week.

    The newest 4 stay longer, and there are 32 at most.
    """

    def __init__(self, gallery: Path) -> None:
        self._folder = gallery / "forgotten"

    def keep(self, version: int, pieces: Iterable[pa.Table]) -> None:
        """Write the rows that the next commit takes from a version; drop what is too old."""
        rows = [piece for piece in pieces if len(piece)]
        if not rows:
            return
        self._folder.mkdir(exist_ok=True)
        beside = self._folder / f".{version}.{os.getpid()}"
        try:
            with beside.open("wb") as file:
                with pq.ParquetWriter(file, rows[0].schema) as writer:
                    for piece in rows:
                        writer.write_table(piece)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._folder / f"{version}.parquet")
        finally:
            beside.unlink(missing_ok=True)
        self._drop_old()

    def versions(self) -> dict[int, datetime.datetime]:
        """Return the versions that lost rows, and when, in local time."""
        found: dict[int, datetime.datetime] = {}
        for path in self._folder.glob("*.parquet"):
            with suppress(OSError, ValueError):  # removed meanwhile, or not of ours
                found[int(path.stem)] = datetime.datetime.fromtimestamp(path.stat().st_mtime)
        return found

    def rows_of(self, version: int, columns: list[str]) -> pa.Table | None:
        """Return the rows that a version lost; None if they are not kept."""
        path = self._folder / f"{version}.parquet"
        try:
            return pq.read_table(path, columns=columns)
        except FileNotFoundError:
            return None

    def _drop_old(self) -> None:
        newest = sorted(self.versions().items(), reverse=True)
        for place, (version, when) in enumerate(newest):
            is_old = time.time() - when.timestamp() > _KEPT.total_seconds()
            if place >= _MOST or (is_old and place >= _LEAST):
                (self._folder / f"{version}.parquet").unlink(missing_ok=True)
