"""Re-ranking of a shortlist, and the influence of gallery records on a hit's position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

from lookalike.errors import UnsupportedMethodError
from lookalike.gallery.nearest import Shortlist
from lookalike.gallery.packing import unpack_shares
from lookalike.gallery.query import Query, existing_file
from lookalike.models.avsl import AvslModel
from lookalike.models.embedder import Embedder
from lookalike.rerankers import ContextualReranking, Reranker, make_reranker
from lookalike.store import Record, VectorStore
from lookalike.types import Influence, Ranking, Shares

Rerank = str | Callable[[Ranking], Ranking]  # a name as in make_reranker, or anything called like one
_BY_SHARES, _BY_NODES = "shares", "avsl"


@final
class Reranking:
    """A shortlist with the re-ranker that re-orders it."""

    def __init__(
        self, rerank: Rerank, found: Shortlist, query: Query, embedder: Embedder, store: VectorStore
    ) -> None:
        self._found = found
        self._name = rerank if isinstance(rerank, str) else ""
        self._reranker = rerank
        if isinstance(rerank, str):
            self._reranker = _reranker_by_name(rerank, found, query, embedder, store)
        elif not callable(rerank):
            raise ValueError(f"a re-ranker must be a name or a function of a Ranking; got {rerank!r}")

    def __call__(self) -> Ranking:
        """Return the re-ranked shortlist."""
        assert callable(self._reranker)
        return self._reranker(self._found.ranking)

    @property
    def explained_by(self) -> str:
        """The explanation method that fits: ``avsl`` if that is the last re-ranker, else ``shares``."""
        last = self._name.split("+")[-1].strip()
        return last if last == _BY_NODES else _BY_SHARES

    def influences(self, row: int) -> tuple[Influence[Record], ...]:
        """Return the influences of other records on a row's position, largest amount first.

        Raises UnsupportedMethodError for a re-ranker without ``explain``.
        """
        explain = getattr(self._reranker, "explain", None)
        if explain is None:
            raise UnsupportedMethodError(
                "influences need a re-ranker with a method explain, and this one has none; "
                "choose a re-ranker by name"
            )
        move = explain(self._found.ranking, 0, row)
        return tuple(Influence(self._found.records[each.item], each.amount) for each in move.influences)


def context_of(rerank: Rerank | None) -> int:
    """Return the number of first results that a re-ranker looks at, even if it re-ranks fewer."""
    if isinstance(rerank, str):
        steps = [step.strip() for step in rerank.split("+")]
        rerank = ContextualReranking() if ContextualReranking.name in steps else None
    return int(getattr(rerank, "n_context", 0))


def record_shares(record: Record, embedder: Embedder, store: VectorStore) -> Shares:
    """Return the shares of a record: the stored ones, or else computed from its file."""
    packed = store.shares(record.id)
    return embedder.shares(existing_file(record)) if packed is None else unpack_shares(packed)


def _reranker_by_name(
    name: str, found: Shortlist, query: Query, embedder: Embedder, store: VectorStore
) -> Reranker:
    steps = [step.strip() for step in name.split("+")]
    options: dict[str, Any] = {}
    if _BY_SHARES in steps:
        options["query_shares"] = lambda _index: query.shares
        options["gallery_shares"] = lambda row: record_shares(found.records[row], embedder, store)
    if _BY_NODES in steps:
        if query.region is not None:
            raise UnsupportedMethodError(
                "re-ranker avsl compares whole images; query with one image and no region"
            )
        model = AvslModel(embedder)
        options["graph"] = model.graph_on_cpu
        options["query_nodes"] = lambda _index: model.nodes([query.reading])
        options["gallery_nodes"] = lambda rows: model.nodes([existing_file(found.records[r]) for r in rows])
    return make_reranker(name, **options)
