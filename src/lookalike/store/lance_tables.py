"""The table of a gallery in LanceDB: its name, how it is reached, and conditions on its ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from lookalike.store.lance_imports import lancedb

TABLE = "images"
_CACHE = 2**23  # bytes: the footers of a thousand files


def connected(uri: str) -> Any:
    """A connection that keeps little of what it reads of files: each commit of many would stay in it."""
    return lancedb.connect(uri, session=lancedb.Session(metadata_cache_size_bytes=_CACHE))


def one_of(ids: Sequence[str]) -> str:
    """An SQL condition with quoted ids, safe against injection."""
    return "id IN (" + ", ".join("'" + id.replace("'", "''") + "'" for id in ids) + ")"
