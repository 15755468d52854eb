"""Earlier versions of a gallery's table: those that LanceDB keeps, and what is kept beside it of others."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from typing import Any, final

import pyarrow as pa
import pyarrow.compute as pc

from lookalike.errors import GalleryError, first_line
from lookalike.store.forgotten import ForgottenRows
from lookalike.store.lance_tables import TABLE, connected, one_of


@final
class EarlierVersions:
    """The versions of the table at a URI; ``forgotten`` has rows of those that are gone."""

    def __init__(self, uri: str, forgotten: ForgottenRows | None) -> None:
        self._uri, self._forgotten = uri, forgotten

    def versions(self, table: Any, latest: int) -> list[tuple[int, datetime.datetime]]:
        """Return those that can still be read and are not the latest, newest first: number and local time."""
        kept = {} if self._forgotten is None else self._forgotten.versions()
        kept |= {int(each["version"]): each["timestamp"] for each in table.list_versions()}
        return sorted((each for each in kept.items() if each[0] != latest), reverse=True)

    def rows(self, version: int, columns: list[str], ids: Sequence[str] | None = None) -> pa.Table:
        """Return the rows of a version, or those with some ids; those that it lost if no others are kept.

        Raises GalleryError if it can't be read any more.
        """
        try:
            earlier = connected(self._uri).open_table(TABLE)  # its own: a checkout changes the table
            earlier.checkout(version)
            search = earlier.search() if ids is None else earlier.search().where(one_of(ids))
            return search.select(columns).to_arrow()
        except (RuntimeError, ValueError, OSError) as error:
            lost = None if self._forgotten is None else self._forgotten.rows_of(version, columns)
            if lost is not None:
                return lost if ids is None else lost.filter(pc.is_in(lost["id"], pa.array(ids)))
            raise GalleryError(f"version {version} can't be read: {first_line(error)}") from error
