"""Re-ranking of a shortlist, and the influence of gallery records on a hit's position."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, final

from lookalike.errors import UnreadableImageError, UnsupportedMethodError
from lookalike.gallery.nearest import Shortlist
from lookalike.gallery.packing import unpack_shares
from lookalike.gallery.query import Query, existing_file
from lookalike.gallery.verifying import FeatureCache, query_features
from lookalike.models.avsl import AvslModel
from lookalike.models.embedder import Embedder
from lookalike.ops.avsl import Nodes
from lookalike.rerankers import (
    Chain,
    ContextualReranking,
    GeometryReranking,
    LocalFeatures,
    MatchOdds,
    Reranker,
    make_reranker,
    needs_shares,
)
from lookalike.rerankers.local_features import opencv
from lookalike.store import Record, VectorStore
from lookalike.types import Influence, Ranking, Shares, Verification

Rerank = str | Callable[[Ranking], Ranking]  # a name as in make_reranker, or anything called like one
_BY_SHARES, _BY_NODES, _BY_VOTES = "shares", "avsl", "transport"
_N_BY_NODES = 50  # candidates that get an AVSL model's distance; as many as are shown, if those are more


NO_RERANK = "none"  # the order of the first stage, also where a model has a distance of its own


def chosen_reranker(asked: Rerank | None, query: Query, embedder: Embedder) -> Rerank | None:
    """Return the re-ranker to use; by default that of an AVSL model's distance, for one whole image."""
    if asked == NO_RERANK:
        return None
    is_plain = query.is_one_image and query.region is None and query.examples is None
    if asked is None and is_plain and embedder.network.graph is not None:
        return _BY_NODES
    return asked


@final
class Reranking:
    """A shortlist with the re-ranker that re-orders it."""

    def __init__(
        self,
        rerank: Rerank,
        found: Shortlist,
        query: Query,
        embedder: Embedder,
        store: VectorStore,
        features: FeatureCache,
        odds: MatchOdds,
        *,
        n_shown: int,
    ) -> None:
        self._found = found
        self.odds = odds
        self.unreadable: dict[str, str] = {}  # files that could not be read, and why
        self.name = rerank if isinstance(rerank, str) else getattr(rerank, "name", "a function")
        self._reranker, self._steps = rerank, [""]
        if isinstance(rerank, str):
            self._steps = [step.strip() for step in rerank.split("+")]
            options = {"n": max(n_shown, _N_BY_NODES)} if self._steps == [_BY_NODES] else {}
            self._reranker = _reranker_by_name(
                rerank, found, query, embedder, store, self.unreadable, features, odds, **options
            )
        elif not callable(rerank):
            raise ValueError(f"a re-ranker must be a name or a function of a Ranking; got {rerank!r}")

    def __call__(self) -> Ranking:
        """Return the re-ranked shortlist."""
        assert callable(self._reranker)
        return self._reranker(self._found.ranking)

    @property
    def explained_by(self) -> str:
        """The explanation method whose similarity is the score, or else ``shares``.

        It is ``avsl`` if that is the last re-ranker, and ``transport`` if that is the only one: it
        changes the score of the step before.
        """
        if self._steps == [_BY_VOTES]:
            return _BY_VOTES
        return _BY_NODES if self._steps[-1] == _BY_NODES else _BY_SHARES

    def evidence(self, row: int) -> Verification | None:
        """Return what the last step ``geometry`` found for a row; None with any other last step."""
        last = self._reranker.steps[-1] if isinstance(self._reranker, Chain) else self._reranker
        return last.evidence(0, row) if isinstance(last, GeometryReranking) else None

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


def verifies(rerank: Rerank | None) -> bool:
    """Whether the last step of a re-ranker is ``geometry``, so that its evidence gives probabilities."""
    return isinstance(rerank, str) and rerank.split("+")[-1].strip() == GeometryReranking.name


def record_shares(record: Record, embedder: Embedder, store: VectorStore) -> Shares:
    """Return the shares of a record: the stored ones, or else computed from its file."""
    packed = store.shares(record.id)
    return embedder.shares(existing_file(record)) if packed is None else unpack_shares(packed)


def _reranker_by_name(
    name: str,
    found: Shortlist,
    query: Query,
    embedder: Embedder,
    store: VectorStore,
    unreadable: dict[str, str],
    features: FeatureCache,
    odds: MatchOdds,
    **options: Any,
) -> Reranker:
    def shares_of(row: int) -> Shares:
        record = found.records[row]
        try:
            return record_shares(record, embedder, store)
        except UnreadableImageError as error:
            unreadable[record.path] = str(error)
            raise

    steps = [step.strip() for step in name.split("+")]
    if needs_shares(name):
        query_shares = query.shares  # raises for a query that can't be read, before any candidate does
        options["query_shares"] = lambda _index: query_shares
        options["gallery_shares"] = shares_of
    if _BY_NODES in steps:
        if query.region is not None:
            raise UnsupportedMethodError(
                "re-ranker avsl compares whole images; query with one image and no region"
            )
        model = AvslModel(embedder)

        def nodes_of(rows: Sequence[int]) -> Nodes:
            try:
                return model.nodes([existing_file(found.records[row]) for row in rows])
            except UnreadableImageError as error:
                if len(rows) == 1:  # of several it is asked again one by one
                    unreadable[found.records[rows[0]].path] = str(error)
                raise

        options["graph"] = model.graph_on_cpu
        options["query_nodes"] = lambda _index: model.nodes([query.reading])
        options["gallery_nodes"] = nodes_of
    if GeometryReranking.name in steps:
        opencv()  # raises where it is not installed, before any picture is read
        options |= _geometry_options(found, query, shares_of, features, unreadable)
        options["odds"] = odds
    return make_reranker(name, **options)


def _geometry_options(
    found: Shortlist,
    query: Query,
    shares_of: Callable[[int], Shares],
    features: FeatureCache,
    unreadable: dict[str, str],
) -> dict[str, Any]:
    """The pictures' local features, and the cells of those that have none, as ``GeometryReranking`` asks."""
    of_query = query_features(query)

    def features_of(row: int) -> LocalFeatures:
        try:
            return features.of_record(found.records[row])
        except UnreadableImageError as error:
            unreadable[found.records[row].path] = str(error)
            raise

    def cells_or_none(shares: Callable[[], Shares]) -> Shares | None:
        try:
            return shares()
        except UnsupportedMethodError:  # a model without cells
            return None

    return {
        "query_features": lambda _index: of_query,
        "gallery_features": features_of,
        "query_cells": lambda _index: cells_or_none(lambda: query.shares),
        "gallery_cells": lambda row: cells_or_none(lambda: shares_of(row)),
    }
