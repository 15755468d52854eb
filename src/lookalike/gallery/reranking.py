"""Re-ranking a shortlist, and who lifted a hit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

from lookalike.errors import UnsupportedMethodError
from lookalike.gallery.nearest import Shortlist
from lookalike.gallery.packing import unpack_shares
from lookalike.gallery.queries import Query, existing_file
from lookalike.models.avsl import AvslModel
from lookalike.models.embedder import Embedder
from lookalike.rerankers import Reranker, make_reranker
from lookalike.store import Record, VectorStore
from lookalike.types import Ranking, Shares

Rerank = str | Callable[[Ranking], Ranking]  # a name as in make_reranker, or anything called like one
_BY_SHARES, _BY_NODES = "shares", "avsl"


@dataclass(frozen=True)
class Lift:
    """A picture of the gallery that changed a hit's position."""

    record: Record
    amount: float  # signed, in units of the new score; positive lifted


@final
class Reranking:
    """One shortlist and what re-orders it."""

    def __init__(
        self, rerank: Rerank, found: Shortlist, query: Query, embedder: Embedder, store: VectorStore
    ) -> None:
        self._found = found
        self._reranker = rerank
        if isinstance(rerank, str):
            self._reranker = _made(rerank, found, query, embedder, store)

    def __call__(self) -> Ranking:
        """The new ranking."""
        assert callable(self._reranker)
        return self._reranker(self._found.ranking)

    def lifts(self, row: int) -> tuple[Lift, ...]:
        """Who lifted or sank a row, the largest amount first."""
        explain = getattr(self._reranker, "explain", None)
        if explain is None:
            raise UnsupportedMethodError("this re-ranker does not say who moved a hit; ask one by name")
        move = explain(self._found.ranking, 0, row)
        return tuple(Lift(self._found.records[lift.row], lift.amount) for lift in move.influences)


def explained_by(rerank: Rerank | None) -> str:
    """The method that explains an order: that of the last re-ranker where it has one of its own."""
    last = rerank.split("+")[-1].strip() if isinstance(rerank, str) else ""
    return last if last == _BY_NODES else "shares"


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
        source = query.source
        if source is None or query.is_region:
            raise UnsupportedMethodError(
                "re-ranker avsl compares whole images; ask with one image, no region"
            )
        model = AvslModel(embedder)
        options["graph"] = model.graph_on_cpu
        options["query_nodes"] = lambda _index: model.nodes([source])
        options["gallery_nodes"] = lambda rows: model.nodes([existing_file(found.records[r]) for r in rows])
    return make_reranker(name, **options)
