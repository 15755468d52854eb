"""Upkeep of a table on disk: when it is compacted, and how long its earlier versions are kept.

Additions are committed in growing portions, so a table has hundreds of fragments, not thousands, and is
compacted only when what is not live takes a third of its size. Compacting drops the earlier versions; what
was forgotten is kept by ``ForgottenRows``.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import time
from pathlib import Path
from typing import Any, final

_EVERY = 8  # commits between two looks at the size on the disk
_WASTE = 1.35  # size on the disk per live byte from which on a table is compacted
_SLACK = 2**17  # bytes: manifests of small tables
_FIRST = 32  # fragments from which on a table is compacted for the first time, to learn the size of its rows
_MANY_FRAGMENTS = 1024
_KEPT = datetime.timedelta(days=7)
_NOW = datetime.timedelta(milliseconds=1)


@final
class Upkeep:
    """Compacts a table, and drops its earlier versions, after commits that make it necessary.

    ``folder`` is the gallery's local folder; None for an object store, whose versions are kept for a week.
    """

    def __init__(self, folder: Path | None, table: str) -> None:
        self._notes = None if folder is None else folder / ".upkeep.json"
        self._table_folder = None if folder is None else folder / f"{table}.lance"

    def after_commit(self, table: Any, n_written: int) -> None:
        """Tidy the table if it is due after so many rows; called by the process that holds the lock."""
        is_large = n_written * _EVERY > int(table.count_rows())
        if (is_large or int(table.version) % _EVERY == 0) and self._is_due(table):
            self.tidy(table)

    def tidy(self, table: Any) -> None:
        """Compact the table and drop its earlier versions."""
        table.optimize(cleanup_older_than=_KEPT)
        if self._notes is None or self._table_folder is None:
            return
        time.sleep(2 * _NOW.total_seconds())
        table.optimize(cleanup_older_than=_NOW)
        stats = table.stats()
        if stats["num_rows"]:
            # Versions from a clock that was set back since can't be dropped until it is that late again.
            stuck = max(0, _size(self._table_folder) - stats["total_bytes"])
            notes = {"row_bytes": stats["total_bytes"] / stats["num_rows"], "stuck_bytes": stuck}
            self._notes.write_text(json.dumps(notes), encoding="utf-8")

    def _is_due(self, table: Any) -> bool:
        stats = table.stats()
        fragments = stats["fragment_stats"]
        if fragments["num_fragments"] > _MANY_FRAGMENTS:
            return True
        if self._table_folder is None:
            return False
        row_bytes, stuck_bytes = self._note("row_bytes"), self._note("stuck_bytes") or 0.0
        if row_bytes is None and fragments["num_fragments"] >= _FIRST:
            return True
        n_stored = max(fragments["num_fragments"] * fragments["lengths"]["mean"], 1)  # deleted rows included
        live = stats["num_rows"] * min(stats["total_bytes"] / n_stored, row_bytes or math.inf)
        return bool(_size(self._table_folder) - stuck_bytes > _WASTE * live + _SLACK)

    def _note(self, name: str) -> float | None:
        """What was noted when the table was compacted last, in bytes; None before."""
        try:
            assert self._notes is not None
            return float(json.loads(self._notes.read_text(encoding="utf-8"))[name])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def _size(folder: Path) -> int:
    """Bytes of a table's files without those of its indices."""
    total = 0
    for top, folders, names in os.walk(folder):
        if "_indices" in folders:
            folders.remove("_indices")
        for name in names:
            try:
                total += Path(top, name).lstat().st_size
            except OSError:
                continue  # removed by another process meanwhile
    return total
