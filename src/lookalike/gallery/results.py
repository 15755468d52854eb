"""Results of a gallery search: the hits, each of which can be explained, and their query."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, final, overload

import torch
from torch import Tensor

from lookalike import images
from lookalike.errors import (
    GalleryError,
    LookalikeError,
    UnknownNameError,
    UnreadableImageError,
    UnsupportedMethodError,
)
from lookalike.explainers import SharesExplainer, TransportExplainer, make_explainer
from lookalike.explainers.base import to_array
from lookalike.explainers.words import answered
from lookalike.gallery.calibration import Calibration
from lookalike.gallery.nearest import Shortlist, cosines, hits_of
from lookalike.gallery.packing import unpack_shares
from lookalike.gallery.query import Query, at_last_layer, existing_file, read_to_draw
from lookalike.gallery.regions import Region
from lookalike.gallery.reranking import Reranking, record_shares
from lookalike.gallery.verifying import geometric_match
from lookalike.models.embedder import Embedder
from lookalike.models.passes import SharesPass
from lookalike.rerankers import DEFAULT_ODDS, MatchOdds
from lookalike.store import Record, VectorStore
from lookalike.types import (
    Explanation,
    FloatArray,
    GeometricMatch,
    Influence,
    Ranking,
    TextExplanation,
    Verification,
)
from lookalike.types.html import photo_html

_THUMBNAIL = (260, 260)  # pixels, at least, of photographs in a notebook


@dataclass(frozen=True, repr=False)
class Hit:
    """An image that a search found; ``why()`` explains its similarity.

    A hit can be pickled; ``why()`` and ``influences()`` are lost in doing so.
    """

    rank: int  # 1 is the best
    similarity: float  # cosine with the query, [-1, 1]
    score: float  # sort key: the cosine, or the re-ranker's score
    rank_before: int | None  # before re-ranking; None if it was not on the shortlist
    probability: float | None  # of being a match, [0, 1]; None if the gallery is not calibrated
    query_map: FloatArray | None = field(compare=False)  # (h, w) by the last layer; None unless asked for
    record: Record
    _row: int = field(compare=False)  # in the shortlist's gallery
    _search: Search | None = field(compare=False)
    verification: Verification | None = field(default=None, compare=False)  # by re-ranker geometry

    @property
    def id(self) -> str:
        """The record's id in its gallery."""
        return self.record.id

    @property
    def path(self) -> Path:
        """The image file; the first one that passes the filter if several have this content.

        One at ``s3://`` loses a slash in it, which all functions know; ``record.path`` is its URI.
        """
        return Path(self.record.path)

    @property
    def metadata(self) -> Mapping[str, Any]:
        """The metadata stored for the file ``path``."""
        return self.record.metadata

    @property
    def searched_region(self) -> Region | None:
        """The region of the query that was searched by; None for the whole."""
        return self._searched().query.region

    def why(self, method: str | None = None, **options: Any) -> Explanation:
        """Return the explanation of the hit's similarity by a method of ``lookalike.explain``.

        The default is ``shares``, or ``avsl`` or ``transport`` if that made the score. ``contrast="gallery"``
        (``shares`` only) maps what both images share beyond what all images of the gallery share. For a
        query in words it is a ``TextExplanation``.

        Raises UnreadableImageError if the file is gone, ValueError if the query was not one image,
        UnsupportedMethodError for a method that does not fit, UnknownNameError for another word as
        contrast, and GalleryError for an unpickled hit.
        """
        return self._searched().why(self._row, method, **options)

    def geometry(self) -> GeometricMatch:
        """Return both pictures with the geometric evidence of re-ranker ``geometry``, to be drawn.

        Raises UnsupportedMethodError for a hit that was not verified, and otherwise as ``why``.
        """
        if self.verification is None:
            raise UnsupportedMethodError(
                'this hit was not compared by geometry; search with rerank="geometry" (--rerank geometry)'
            )
        search = self._searched()
        picture = search.embedder.picture(existing_file(self.record))
        return geometric_match(
            search.query.reading.picture,
            picture,
            self.verification,
            self.similarity,
            search.odds,
            search.embedder.name,
        )

    def influences(self) -> tuple[Influence[Record], ...]:
        """Return the influences of other images on the hit in re-ranking, largest amount first.

        Empty without re-ranking. Raises UnsupportedMethodError for a re-ranker without ``explain``.
        """
        return self._searched().influences(self._row)

    def to_dict(self) -> dict[str, Any]:
        """Return the hit as JSON types."""
        return {
            "rank": self.rank,
            "path": self.record.path,
            "id": self.id,
            "sha256": self.record.hash,
            "similarity": self.similarity,
            "score": self.score,
            "rank_before": self.rank_before,
            "probability": self.probability,
            "geometry": None if self.verification is None else self.verification.to_dict(),
            "metadata": dict(self.metadata),
            "copies": [copy.path for copy in self.record.copies],
            "query_map": None if self.query_map is None else self.query_map.tolist(),
        }

    def _searched(self) -> Search:
        if self._search is None:
            raise GalleryError(
                f"this hit ({self.path.name}) was unpickled without its gallery; search again to explain it"
            )
        return self._search

    def __hash__(self) -> int:
        return hash((self.rank, self.id, self.similarity))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_search": None}

    def __copy__(self) -> Hit:
        return self  # it never changes

    def __deepcopy__(self, _: object) -> Hit:
        return self

    def __repr__(self) -> str:
        copies = "".join(f" = {Path(copy.path).name!r}" for copy in self.record.copies[:3])
        return f"Hit({self.rank}, {self.path.name!r}{copies}, similarity {self.similarity:z.4f})"

    def _repr_html_(self) -> str:
        """Return the image with its rank, name and similarity, for notebooks."""
        words = f"{self.rank}. {escape(self.path.name)}<br>similarity {self.similarity:z.3f}"
        if self.probability is not None:
            words += f"<br>probability {self.probability:z.2f}"
        try:
            file = existing_file(self.record)
            levels = None if self._search is None else self._search.embedder.preprocessing.levels
            image = images.load(file, at_least=_THUMBNAIL, levels=levels).image
        except UnreadableImageError:
            image = None
        return photo_html(image, words)


@final
class SearchResult(Sequence[Hit]):
    """The hits of a search, best first, with the query and the ranking behind them."""

    def __init__(self, hits: Sequence[Hit], search: Search, ranking: Ranking) -> None:
        self._hits = tuple(hits)
        self._search = search
        self.ranking = ranking  # of this one query, before k and the limits were applied

    @property
    def query(self) -> Query:
        """The query: its unit embedding, its image and its shares."""
        return self._search.query

    @property
    def rerank(self) -> str | None:
        """The name of the re-ranker that made the order and the scores; None for the cosine."""
        return self._search.rerank

    @property
    def method(self) -> str:
        """The explanation method of ``Hit.why`` that fits the order."""
        return self._search.method

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Files that re-ranking could not read, and why.

        They rank as if no cells matched, and behind those with a distance of an AVSL model.
        """
        return self._search.unreadable

    def __len__(self) -> int:
        return len(self._hits)

    @overload
    def __getitem__(self, index: int) -> Hit: ...
    @overload
    def __getitem__(self, index: slice) -> SearchResult: ...
    def __getitem__(self, index: int | slice) -> Hit | SearchResult:
        if isinstance(index, slice):
            return SearchResult(self._hits[index], self._search, self.ranking)
        return self._hits[index]

    def __iter__(self) -> Iterator[Hit]:
        return iter(self._hits)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SearchResult | list | tuple):
            return list(self) == list(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self._hits)

    def __reduce__(self) -> tuple[type, tuple[list[Hit]]]:
        """Pickle as a list of the hits: the gallery stays where it is."""
        return list, (list(self),)

    def __copy__(self) -> SearchResult:
        return self  # it never changes

    def __deepcopy__(self, _: object) -> SearchResult:
        return self

    def __repr__(self) -> str:
        best = f", best {self._hits[0]!r}" if self._hits else ""
        return f"SearchResult({len(self)} hits{best})"

    def to_dict(self) -> dict[str, Any]:
        """Return the names of model, re-ranker and correction, and all hits, as JSON types."""
        return {
            "model": self._search.embedder.name,
            "rerank": self.rerank,
            "correction": self._search.correction,
            "hits": [hit.to_dict() for hit in self],
        }

    def to_pandas(self) -> Any:
        """Return a pandas DataFrame with a row for each hit and a column for each metadata field.

        Raises LookalikeError if pandas is not installed.
        """
        try:
            pandas = importlib.import_module("pandas")
        except ImportError as error:
            raise LookalikeError("to_pandas needs pandas: pip install pandas") from error
        left_out = ("metadata", "query_map", "geometry")
        rows = [
            {**{k: v for k, v in hit.to_dict().items() if k not in left_out}, **hit.metadata} for hit in self
        ]
        return pandas.DataFrame(rows)

    def _repr_html_(self) -> str:
        """Return the images of the first 24 hits in rows, for notebooks."""
        cells = "".join(hit._repr_html_() for hit in self[:24])
        words = f"<div>the first 24 of {len(self):,} hits</div>" if len(self) > 24 else ""
        return words + f"<div style='display:flex;flex-wrap:wrap;gap:8px'>{cells or 'no hits'}</div>"


@final
class Search:
    """A query and its shortlist, with the model and store that explain a row of it.

    If the gallery keeps shares, a match is explained without a forward pass. ``mean_unit`` returns the
    mean (D,) of all unit embeddings of the gallery.
    """

    def __init__(
        self,
        query: Query,
        found: Shortlist,
        embedder: Embedder,
        store: VectorStore,
        reranking: Reranking | None,
        mean_unit: Callable[[], FloatArray],
        *,
        correction: str | None = None,
    ) -> None:
        self.query, self.embedder = query, embedder
        self._found, self._store, self._reranking = found, store, reranking
        self._mean_unit = mean_unit
        self.correction = correction  # of the scores for hubs; maps explain the cosine, which it changes

    def why(self, row: int, method: str | None, **options: Any) -> Explanation:
        """Return the explanation of a row by ``method``, or by the one that fits the order."""
        if self.query.in_words:
            return self._why_words(row, method, **options)
        method = method or self.method
        query = self.query.reading  # ValueError without an image
        match = read_to_draw(existing_file(self._found.records[row]), self.embedder)
        if method == TransportExplainer.name:
            shares = record_shares(self._found.records[row], self.embedder, self._store)  # as it was ranked
            by_votes = TransportExplainer(self.embedder, **options)
            return by_votes.of_shares(query, self.query.shares, match, shares, match_unit=self._unit(row))
        if method != SharesExplainer.name:
            self._check_whole(f"method {method!r}")
            return make_explainer(self.embedder, method, **options)(query, match)
        contrast = self._contrast(options.pop("contrast", None))
        packed = self._kept_shares(row)
        at_last = options == {"layer": "last"} or (
            not options and (packed is not None or self.query.region is not None or self._has_examples)
        )
        if at_last:
            shares = self.embedder.shares(match) if packed is None else unpack_shares(packed)
            explainer = SharesExplainer(self.embedder, layer="last", contrast=contrast)
            sides = (*self.query.at_last_layer, *at_last_layer(match, shares))
            return explainer.of_passes(*sides, match_unit=self._unit(row))
        self._check_whole(f"shares by {', '.join(options)}")
        chosen = make_explainer(self.embedder, method, contrast=contrast, **options)
        assert isinstance(chosen, SharesExplainer)
        of_query = chosen.open(query) if options else self._split
        return chosen.of_passes(query, of_query, match, chosen.open(match), match_unit=self._unit(row))

    def _why_words(self, row: int, method: str | None, **options: Any) -> TextExplanation:
        """Return which cells of a row answer the words, each of them and all."""
        if method not in (None, SharesExplainer.name) or "contrast" in options:
            raise UnsupportedMethodError("words are explained by method shares, without a contrast")
        match = read_to_draw(existing_file(self._found.records[row]), self.embedder)
        packed = self._kept_shares(row)
        if options == {"layer": "last"} or (not options and packed is not None):
            shares = self.embedder.shares(match) if packed is None else unpack_shares(packed)
            explainer = SharesExplainer(self.embedder, layer="last")
            return answered(
                self.query.asked, *at_last_layer(match, shares), explainer, image_unit=self._unit(row)
            )
        explainer = SharesExplainer(self.embedder, **options)
        split = explainer.open(match)
        return answered(self.query.asked, match, split, explainer, image_unit=self._unit(row))

    def influences(self, row: int) -> tuple[Influence[Record], ...]:
        """Return the influences on a row in re-ranking; empty without re-ranking."""
        return () if self._reranking is None else self._reranking.influences(row)

    @property
    def method(self) -> str:
        """The explanation method that fits the order."""
        return SharesExplainer.name if self._reranking is None else self._reranking.explained_by

    @property
    def found(self) -> Shortlist:
        """The shortlist in the order of the first stage."""
        return self._found

    def query_maps(self, rows: Sequence[int]) -> list[FloatArray]:
        """Return the query's attribution map for each of K rows, (h, w) float32.

        They are those of the last layer, one product of matrices for all rows: ``why``, whose default
        splits an earlier layer too, would take backward passes for each.
        """
        if not len(rows):
            return []
        located = self.query.at_last_layer[1].shares(self._found.ranking.gallery[list(rows)])
        return [to_array(values, located.grid) for values in located.values]

    @property
    def unreadable(self) -> Mapping[str, str]:
        """Files that re-ranking could not read, and why."""
        return {} if self._reranking is None else self._reranking.unreadable

    @property
    def rerank(self) -> str | None:
        """The name of the re-ranker that made the order, if any."""
        return None if self._reranking is None else self._reranking.name

    @property
    def odds(self) -> MatchOdds:
        """The odds of a match by cosine and geometry."""
        return DEFAULT_ODDS if self._reranking is None else self._reranking.odds

    def evidence(self, row: int) -> Verification | None:
        """Return what re-ranker ``geometry`` found for a row; None if it was not asked."""
        return None if self._reranking is None else self._reranking.evidence(row)

    def _check_whole(self, what: str) -> None:
        if self.query.region is not None:
            raise UnsupportedMethodError(f"{what} explains whole images; query without a region")
        if self._has_examples:
            raise UnsupportedMethodError(f"{what} explains single images; query without examples")

    @property
    def _has_examples(self) -> bool:
        return self.query.examples is not None

    def _unit(self, row: int) -> Tensor:
        """A row's unit embedding as the gallery stores it: (D,) float64."""
        return torch.nn.functional.normalize(self._found.ranking.gallery[row].double(), dim=0)

    def _contrast(self, given: Any) -> Any:
        """The vector that a contrast means: the word "gallery" is the mean of the gallery."""
        if not isinstance(given, str):
            return given
        if given != "gallery":
            raise UnknownNameError(
                f"contrast is 'gallery', or a vector of {self.embedder.width} numbers; got {given!r}"
            )
        return self._mean_unit()

    @cached_property
    def _split(self) -> SharesPass:
        """The query's pass by method ``shares``; a search holds it, for it is large."""
        return SharesExplainer(self.embedder).open(self.query.reading)

    def _kept_shares(self, row: int) -> bytes | None:
        return self._store.shares(self._found.records[row].id)


def present(
    search: Search, ranking: Ranking, k: int, *, curve: Calibration | None, with_maps: bool
) -> list[Hit]:
    """Return the first k rows of a ranking as hits, with their cosines, probabilities and former ranks."""
    found = search.found
    shown = hits_of(found, ranking, k)
    rows = [row for row, _ in shown]
    rank_before = {row: rank for rank, row in enumerate(found.ranking.indices[0].tolist(), start=1)}
    is_first_stage = search.rerank is None and search.correction is None
    similarities = (
        [min(max(score, -1.0), 1.0) for _, score in shown] if is_first_stage else cosines(found, rows)
    )
    maps: Sequence[FloatArray | None] = list(search.query_maps(rows)) if with_maps else [None] * len(rows)
    evidence = [None] * len(rows) if is_first_stage else [search.evidence(row) for row in rows]
    return [
        Hit(
            rank=rank,
            similarity=similarity,
            score=similarity if is_first_stage else score,
            rank_before=rank_before.get(row),
            probability=_probability(similarity, verified, search, curve),
            query_map=query_map,
            record=record,
            _row=row,
            _search=search,
            verification=verified,
        )
        for rank, ((row, score), record, similarity, query_map, verified) in enumerate(
            zip(shown, found.shown(rows), similarities, maps, evidence, strict=True), start=1
        )
    ]


def _probability(
    similarity: float, verified: Verification | None, search: Search, curve: Calibration | None
) -> float | None:
    """By the cosine and the geometric evidence, where there is any, or else by the cosine's own curve."""
    if verified is not None:
        return search.odds.probability(similarity, verified.by_features)
    return None if curve is None else curve.probability(similarity)


def within_limits(
    hits: Sequence[Hit], min_similarity: float | None, min_probability: float | None
) -> list[Hit]:
    """Return the hits that reach both limits; None is no limit."""
    return [
        hit
        for hit in hits
        if (min_similarity is None or hit.similarity >= min_similarity)
        and (min_probability is None or (hit.probability is not None and hit.probability >= min_probability))
    ]
