"""When a folder was last looked at, beside the gallery's table: what changed since then is hashed again.

A file can change and keep its size and modification time (copied over with its times, or restored); its
change time (``st_ctime``) can't be set back. On Windows that is the time of creation, which tells nothing.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Collection
from pathlib import Path
from typing import final

from lookalike.store import VectorStore

_FILE = "looks.json"
_TICK_NS = 10_000_000  # times of files lag behind the clock by up to this


def holds_any(store: VectorStore, paths: Collection[str]) -> bool:
    """Whether one of the files is in the store."""
    return bool(paths) and any(
        file.path in paths for batch in store.record_batches() for record in batch for file in record.files
    )


@final
class Looks:
    """Times of the last complete look at each folder; kept in memory only without a gallery folder."""

    def __init__(self, gallery: Path | None) -> None:
        self._file = None if gallery is None else gallery / _FILE
        self._times: dict[str, int] = {}

    @staticmethod
    def now() -> int:
        """The time in nanoseconds since 1970, before any change that is yet to come."""
        return time.time_ns() - _TICK_NS

    def since(self, folder: Path) -> int | None:
        """When the folder, or one above it, was last looked at; None if that is not known.

        0, before everything, where that time is yet to come: the clock was set back since.
        """
        times = self._read()
        last = max((times[str(f)] for f in (folder, *folder.parents) if str(f) in times), default=None)
        return last if last is None or last <= time.time_ns() else 0

    def note(self, folder: Path, start: int) -> None:
        """Note that a complete look at the folder began at this time."""
        times = self._read()
        times = {name: t for name, t in times.items() if not Path(name).is_relative_to(folder)}
        self._times = {**times, str(folder): start}
        if self._file is not None:
            new = self._file.with_suffix(".new")
            with contextlib.suppress(OSError):  # an older time only makes the next look longer
                new.write_text(json.dumps(self._times))
                new.replace(self._file)

    def _read(self) -> dict[str, int]:
        if self._file is None:
            return self._times
        try:
            found = json.loads(self._file.read_text())
        except (OSError, ValueError):
            return {}
        return {name: t for name, t in found.items() if isinstance(t, int)} if isinstance(found, dict) else {}
