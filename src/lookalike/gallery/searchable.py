"""What the verbs that search a gallery many times ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from lookalike.gallery.filters import Where
from lookalike.gallery.query import Query
from lookalike.gallery.results import SearchResult
from lookalike.models.embedder import Embedder
from lookalike.store import Record
from lookalike.types import FloatArray


class Searchable(Protocol):
    """A gallery, as far as it is searched and its records are looked at."""

    embedder: Embedder

    def __len__(self) -> int:
        """Return the number of images."""
        ...

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """Return all records, or those with the given ids."""
        ...

    def embedding(self, id: str) -> FloatArray:
        """Return a record's unit embedding (D,)."""
        ...

    def search(
        self,
        query: Query,
        *,
        k: int,
        rerank: str,
        shortlist: int,
        where: Where | None = None,
        leave_self_out: bool = False,
    ) -> SearchResult:
        """Return the k most similar images, as ``Gallery.search``."""
        ...
