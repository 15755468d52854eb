"""One answer of a search, and what it takes to say why."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers import SharesExplainer, explain_shares, make_explainer
from lookalike.gallery.queries import Query, existing_file
from lookalike.gallery.reranking import Lift, record_shares
from lookalike.models.embedder import Embedder
from lookalike.store import Record, VectorStore
from lookalike.types import Explanation, FloatArray


class ExplainsRecords(Protocol):
    """Says why a record matches the query that was asked."""

    def __call__(self, record: Record, method: str | None, **options: Any) -> Explanation:
        """The explanation by that method, or by the one that fits the search."""
        ...


@dataclass(frozen=True)
class Hit:
    """A picture of the gallery that a search found; ``why()`` says what makes it similar."""

    rank: int  # 1 is the best
    similarity: float  # cosine with the query, [-1, 1]
    score: float  # what the order is by: the cosine, or the re-ranker's score
    rank_before: int | None  # before re-ranking; None where it was not on the shortlist
    probability: float | None  # that it is a match; None in a gallery that is not calibrated
    query_map: FloatArray | None = field(compare=False)  # (h, w) shares on the query; with explain=True
    record: Record
    _explain: ExplainsRecords = field(repr=False, compare=False)
    _lifts: Callable[[], tuple[Lift, ...]] | None = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """Id of the record in its gallery."""
        return self.record.id

    @property
    def path(self) -> Path:
        """The file; of several with this content the first."""
        return Path(self.record.path)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """What the gallery knows of the picture."""
        return self.record.metadata

    def why(self, method: str | None = None, **options: Any) -> Explanation:
        """Maps of query and match, by a method of ``lookalike.explain``: ``shares`` unless named, and
        ``avsl`` where the search was re-ranked by it.

        Raises UnreadableImageError where the file is gone, and ValueError where the query was no
        single image.
        """
        return self._explain(self.record, method, **options)

    def lifted_by(self) -> tuple[Lift, ...]:
        """The pictures that lifted the hit in re-ranking, or sank it; none without re-ranking."""
        return () if self._lifts is None else self._lifts()

    def as_numbers(self) -> dict[str, Any]:
        """The hit as JSON types."""
        return {
            "rank": self.rank,
            "path": self.record.path,
            "id": self.id,
            "sha256": self.record.hash,
            "similarity": self.similarity,
            "score": self.score,
            "rank_before": self.rank_before,
            "probability": self.probability,
            "metadata": dict(self.metadata),
            "copies": [copy.path for copy in self.record.copies],
            "query_map": None if self.query_map is None else self.query_map.tolist(),
        }


@final
class RecordExplainer:
    """Explains records for one query; stored shares of a record save its forward pass."""

    def __init__(
        self, query: Query, embedder: Embedder, store: VectorStore, usual: str = SharesExplainer.name
    ) -> None:
        self._query, self._embedder, self._store, self._usual = query, embedder, store, usual

    def __call__(self, record: Record, method: str | None, **options: Any) -> Explanation:
        """The explanation by that method, or by the usual one."""
        method = method or self._usual
        query_shares = self._query.shares  # ValueError without an image
        source = self._query.source
        assert source is not None
        file = existing_file(record)
        if method == SharesExplainer.name:
            shares = record_shares(record, self._embedder, self._store)
            return explain_shares(query_shares, shares, source, file, model=self._embedder.name)
        if self._query.is_region:
            raise UnsupportedMethodError(f"method {method!r} explains whole images; ask without a region")
        return make_explainer(self._embedder, method, **options)(source, file)
