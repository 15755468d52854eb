"""Re-ranking a shortlist, and which records moved a hit."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from lookalike.errors import UnsupportedMethodError
from lookalike.gallery.nearest import Shortlist
from lookalike.gallery.packing import unpack_shares
from lookalike.gallery.query import Query, existing_file
from lookalike.models.avsl import AvslModel
from lookalike.models.embedder import Embedder
from lookalike.rerankers import Reranker, make_reranker
from lookalike.store import Record, VectorStore
from lookalike.types import Influence, Ranking, Shares

Rerank = str | Callable[[Ranking], Ranking]  # a name as in make_reranker, or anything called like one
_BY_SHARES, _BY_NODES = "shares", "avsl"


@final
class Reranking:
    """One shortlist and what re-orders it."""

    def __init__(
        self, rerank: Rerank, found: Shortlist, query: Query, embedder: Embedder, store: VectorStore
    ) -> None:
        self._found = found
        self._name = rerank if isinstance(rerank, str) else ""
        self._reranker = rerank
        if isinstance(rerank, str):
            self._reranker = _made(rerank, found, query, embedder, store)

    def __call__(self) -> Ranking:
        """The new ranking."""
        assert callable(self._reranker)
        return self._reranker(self._found.ranking)

    @property
    def explained_by(self) -> str:
        """The method that explains the order: that of the last re-ranker where it has one of its own."""
        last = self._name.split("+")[-1].strip()
        return last if last == _BY_NODES else _BY_SHARES

    def influences(self, row: int) -> tuple[Influence[Record], ...]:
        """The records that moved a row, the largest amount first.

        Raises UnsupportedMethodError for a function that does not tell.
        """
        explain = getattr(self._reranker, "explain", None)
        if explain is None:
            raise UnsupportedMethodError("this re-ranker does not tell what moved a hit; ask one by name")
        move = explain(self._found.ranking, 0, row)
        return tuple(Influence(self._found.records[each.item], each.amount) for each in move.influences)


def record_shares(record: Record, embedder: Embedder, store: VectorStore) -> Shares:
    """The shares of a record: those kept, or else from its file."""
    packed = store.shares(record.id)
    return embedder.shares(existing_file(record)) if packed is None else unpack_shares(packed)


def _made(name: str, found: Shortlist, query: Query, embedder: Embedder, store: VectorStore) -> Reranker:
    steps = [step.strip() for step in name.split("+")]
    options: dict[str, Any] = {}
    if _BY_SHARES in steps:
        options["query_shares"] = lambda _index: query.shares
        options["gallery_shares"] = lambda row: record_shares(found.records[row], embedder, store)
    if _BY_NODES in steps:
        if query.region is not None:
            raise UnsupportedMethodError(
                "re-ranker avsl compares whole images; ask with one image, no region"
            )
        model = AvslModel(embedder)
        options["graph"] = model.graph_on_cpu
        options["query_nodes"] = lambda _index: model.nodes([query.reading])
        options["gallery_nodes"] = lambda rows: model.nodes([existing_file(found.records[r]) for r in rows])
    return make_reranker(name, **options)
