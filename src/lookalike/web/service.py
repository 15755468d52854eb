"""Searches, explanations and pictures of one served gallery; only what runs the model takes turns."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, Literal, final

import numpy as np
import torch
from fastapi import HTTPException

from lookalike import images
from lookalike.errors import GalleryError, unknown_name
from lookalike.explainers import Avsl, SharesExplainer, TransportExplainer, make_explainer
from lookalike.explainers.words import answered
from lookalike.gallery import CaseFile, Gallery, Hit, RegionsResult, SearchResult
from lookalike.gallery.filters import which_pass
from lookalike.gallery.query import (
    Query,
    existing_file,
    read_image,
    read_query,
    record_query,
    reduced,
    region_query,
    whole_query,
)
from lookalike.gallery.regions import Region
from lookalike.gallery.searching_regions import search_by_regions
from lookalike.models.folding import folded
from lookalike.models.passes import SharesPass
from lookalike.ops.attribution import cell_similarity
from lookalike.ops.similarity import cosine_similarity
from lookalike.reports.search import search_report
from lookalike.rerankers import AvslReranking, GeometryReranking, needs_shares
from lookalike.store import Record
from lookalike.types import Explanation, Geometry, Picture, TextExplanation
from lookalike.web.caching import LRUCache
from lookalike.web.limits import WebLimits
from lookalike.web.model_turns import GatheringRunner, ModelLock
from lookalike.web.schemas import (
    BoxPixels,
    CellMatchOut,
    GeometryOut,
    HitOut,
    PictureOut,
    SearchOut,
    SearchRequest,
    UploadOut,
    as_grid,
)
from lookalike.web.uploads import Uploads

_PICTURE_ID = re.compile(r"[0-9a-f]{20}|[0-9a-f]{32}")
_RECORD_ID_LENGTH = 20  # an upload's id is longer
_MAX_QUERIES = 48  # each with a picture of up to 8 MB
_MAX_PASSES = 1  # each holds all features of a network
_OTHERS_TURN = 0.005  # seconds in which one of those who wait takes the model: a lock has no queue
_MAX_RESULTS = 8  # of searches, about whose hits something may be decided
_MAX_CASES = 64
_BY_MODEL = (
    AvslReranking.name,
    GeometryReranking.name,
)  # re-rankers that may run it, besides those of shares
_DRAWN_SIDE = 1600  # longer side, in pixels, of pictures under explanations


@final
class GalleryService:
    """Searches and explains one gallery; every method is thread-safe."""

    def __init__(
        self, name: str, gallery: Gallery, uploads: Uploads, model: ModelLock, limits: WebLimits
    ) -> None:
        self.name, self.gallery, self._uploads, self._model = name, gallery, uploads, model
        self._embedder = folded(gallery.embedder)  # runs pictures; equal to rounding
        self._runner = GatheringRunner(self._embedder, model, limits)
        self._full_pictures = threading.BoundedSemaphore(limits.max_pictures)
        self._queries: LRUCache[tuple[str, Region | None], Query] = LRUCache(_MAX_QUERIES)
        self._results: LRUCache[str, SearchResult] = LRUCache(_MAX_RESULTS)
        self._cases: LRUCache[str, CaseFile] = LRUCache(_MAX_CASES)
        self._worded: LRUCache[tuple[object, ...], Query] = LRUCache(_MAX_QUERIES)
        self._passes: LRUCache[str, SharesPass] = LRUCache(_MAX_PASSES)  # of whole pictures as queries

    # --- searching ----------------------------------------------------------------------------

    def search(self, settings: SearchRequest) -> SearchOut:
        """Search and return the hits, each with its map on the query."""
        start = time.perf_counter()
        result = self.result(settings)
        self._results.put(settings.model_dump_json(), result)
        in_words = result.query.in_words
        geometry = None if in_words else result.query.shares.geometry
        maps = [hit.query_map for hit in result if hit.query_map is not None]
        return SearchOut(
            query=None if settings.query is None else self._query_out(settings.query, geometry),
            query_content=result.query.id or "",
            query_geometry=None if geometry is None else GeometryOut.of(geometry),
            asked=result.query.name if in_words else None,
            hits=[_hit_out(hit) for hit in result],
            limit=max((float(np.abs(m).max()) * m.size / 100 for m in maps), default=0.0),
            rerank=result.rerank,
            unreadable=[Path(path).name for path in result.unreadable],
            seconds=time.perf_counter() - start,
        )

    def result(self, settings: SearchRequest) -> SearchResult:
        """Return the search result. Raises HTTPException with status 422 for settings that don't fit."""
        options = settings.model_dump(exclude={"query", "box", "polygon", "text", "unlike", "weight"})
        query = self.asked(settings)
        with _as_unprocessable():
            if not query.in_words:
                query.check_explainable()  # runs the model for this picture and others that wait
            with self._model.held() if self._reranks_by_model(settings.rerank) else nullcontext():
                return self.gallery.search(query, explain=not query.in_words, **options)

    def regions(self, query: str, **options: Any) -> RegionsResult:
        """Return what a photograph shows and where; others have the model between its regions.

        Raises HTTPException with status 404 or 422.
        """

        @contextmanager
        def holding() -> Iterator[None]:
            with self._model.held():
                yield
            time.sleep(_OTHERS_TURN)

        source = self.source(query)
        with _as_unprocessable(), self._full_pictures:
            return search_by_regions(self.gallery, source, boxes=None, holding=holding, **options)

    def _reranks_by_model(self, rerank: str | None) -> bool:
        steps = (rerank or "").split("+")
        by_name = needs_shares(rerank or "") or any(step.strip() in _BY_MODEL for step in steps)
        return by_name or self.gallery.infers_distance

    def asked(self, settings: SearchRequest) -> Query:
        """Return what is searched for; of words it is cached. Raises HTTPException with status 404 or 422."""
        region = _region(settings.box, settings.polygon)
        picture = None if settings.query is None else self.query(settings.query, region)
        if picture is not None and settings.text is None and not settings.unlike:
            return picture
        # a client's text is never a path: what is no picture's id is words
        against = [self.query(each) if _PICTURE_ID.fullmatch(each) else each for each in settings.unlike]

        def make() -> Query:
            with _as_unprocessable(), self._model.held():
                unlike = [self.gallery.query(text=e) if isinstance(e, str) else e for e in against]
                return self.gallery.query(picture, text=settings.text, unlike=unlike, weight=settings.weight)

        parts = (settings.query, region, settings.text, settings.weight, tuple(settings.unlike))
        return self._worded.get_or_make(parts, make)

    def words(self, settings: SearchRequest, match: str) -> TextExplanation:
        """Explain where a picture answers words. Raises HTTPException with status 422 without words."""
        query, picture = self.asked(settings), self.query(match)
        if not query.in_words:
            raise HTTPException(422, "words need a text, or what is not wanted; give one")
        embedder = self.gallery.embedder
        with self._model.held():
            if self.gallery.keeps_shares and len(match) == _RECORD_ID_LENGTH:
                explainer = SharesExplainer(embedder, layer="last")
                return answered(query.asked, *picture.at_last_layer, explainer, image_unit=picture.unit)
            explainer = SharesExplainer(embedder)
            split = explainer.open(picture.reading)
            return answered(query.asked, picture.reading, split, explainer, image_unit=picture.unit)

    def _query_out(self, id: str, geometry: Geometry | None) -> UploadOut:
        height, width = (geometry or self.query(id).reading.geometry).original_size
        return UploadOut(id=id, name=self.title(id), height=height, width=width)

    def seen_result(self, settings: SearchRequest) -> SearchResult:
        """Return the result of a search as it was shown, or search again if that was long ago."""
        return self._results.get_or_make(settings.model_dump_json(), lambda: self.result(settings))

    def case(self, name: str) -> CaseFile:
        """Return the case with this name. Raises HTTPException with status 404."""
        if name not in self.gallery.cases():
            raise HTTPException(404, str(unknown_name("case", name, self.gallery.cases())))
        return self._cases.get_or_make(name, lambda: self.gallery.case(name))

    def _kept(self, id: str) -> tuple[str, bytes] | None:
        """Name and bytes of a query that a case keeps, or of a picture of the gallery, by its SHA-256."""
        if self.gallery.is_on_disk:
            for name in self.gallery.cases():
                with suppress(GalleryError):  # a damaged case harms none of the others
                    if (found := self.case(name).picture(id)) is not None:
                        return found
        record = next(iter(self.gallery.records([id[:_RECORD_ID_LENGTH]])), None)
        if record is None or not record.hash.startswith(id):
            return None
        return Path(record.path).name, images.file_bytes(self._existing_file(record))

    # --- explaining ---------------------------------------------------------------------------

    def explanation(
        self,
        query: str,
        match: str,
        box: BoxPixels | None,
        method: str = SharesExplainer.name,
        *,
        polygon: Sequence[tuple[float, float]] | None = None,
        contrast: bool = False,
        liked: Sequence[str] = (),
        disliked: Sequence[str] = (),
    ) -> Explanation:
        """Explain the similarity of two pictures, or of a box on the query and the match, as ``Hit.why``.

        ``contrast`` maps what both share beyond what all pictures of the gallery share. Raises
        HTTPException with status 422 for a contrast with a method other than ``shares``, and for a box
        with ``avsl``.
        """
        if method == Avsl.name and (box is not None or polygon is not None):
            raise HTTPException(422, f"method {method} explains whole pictures only; leave the region out")
        if method != SharesExplainer.name and contrast:
            raise HTTPException(422, f"method {method} has no contrast; leave it out")
        if method != SharesExplainer.name and (liked or disliked):
            raise HTTPException(422, f"method {method} explains without examples; leave them out")
        a, b = self.query(query, _region(box, polygon)), self.query(match)
        a = self.gallery.with_examples(a, liked, disliked)
        embedder = self._embedder
        with self._model.held():
            if method == TransportExplainer.name:
                return self._by_votes(a, b, match)
            if method != SharesExplainer.name:
                return make_explainer(self.gallery.embedder, method)(a.reading, b.reading)
            mean = torch.from_numpy(self.gallery.mean_unit()) if contrast else None
            by_last = a.region is not None or a.examples is not None
            if by_last or (self.gallery.keeps_shares and len(match) == _RECORD_ID_LENGTH):
                explainer = SharesExplainer(embedder, layer="last", contrast=mean)
                return explainer.of_passes(*a.at_last_layer, *b.at_last_layer, match_unit=b.unit)
            explainer = SharesExplainer(embedder, contrast=mean)
            split = self._passes.get_or_make(query, lambda: explainer.open(a.reading))
            return explainer.of_passes(
                a.reading, split, b.reading, explainer.open(b.reading), match_unit=b.unit
            )

    def _by_votes(self, query: Query, match: Query, id: str) -> Explanation:
        """The score of re-ranker ``transport``, from the same shares as in the search."""
        embedder, shares = self._embedder, match.shares
        if len(id) == _RECORD_ID_LENGTH:
            shares = self.gallery.shares(id)
        return TransportExplainer(embedder).of_shares(
            query.reading, query.shares, match.reading, shares, match_unit=match.unit
        )

    @contextmanager
    def model_in_turn(self) -> Iterator[None]:
        """Wait for the model and hold it: it answers one request at a time."""
        with self._model.held():
            yield

    def why(self, hit: Hit) -> Explanation:
        """Explain a hit of a search, for the whole query or the region searched by."""
        with self._model.held():
            return hit.why()

    def report(self, settings: SearchRequest) -> str:
        """Search and return an HTML report. Raises HTTPException with status 422 without hits."""
        result = self.result(settings)
        parameters = settings.model_dump(exclude={"query", "text"}, exclude_none=True, exclude_defaults=True)
        words = ", ".join(f"{name} {value}" for name, value in parameters.items()) or "the whole picture"
        facts = {"query": self.title(settings.query)} if settings.query is not None else {}
        facts |= ({} if settings.text is None else {"words": settings.text}) | {"search": words}
        try:
            return search_report(
                result, self.gallery, parameters=facts, gallery_name=self.name, explain=self.why
            )
        except GalleryError as error:
            raise HTTPException(422, str(error)) from error

    def cells(
        self,
        first: str,
        second: str,
        x: float,
        y: float,
        *,
        box: BoxPixels | None = None,
        polygon: Sequence[tuple[float, float]] | None = None,
        box_on: Literal["first", "second"] = "first",
    ) -> CellMatchOut:
        """Compare the cell at pixel (x, y) of the first picture with every cell of the second.

        ``box`` limits the picture ``box_on`` to a part. Raises HTTPException with status 422 for a pixel
        outside the model's view, or outside the box.
        """
        region = _region(box, polygon)
        regions = (region, None) if box_on == "first" else (None, region)
        queries = self.query(first, regions[0]), self.query(second, regions[1])
        a, b = (query.shares for query in queries)
        cell = a.geometry.cell_at(x, y, a.grid)
        if cell is None:
            seen = "the model's view of the picture" if regions[0] is None else "the box"
            raise HTTPException(422, f"pixel ({x:g}, {y:g}) is outside {seen}; choose one inside")
        i = cell[0] * a.grid[1] + cell[1]
        share = a.values[i : i + 1]  # (1, D)
        cosines = cosine_similarity(share, b.values).reshape(b.grid)
        shares = cell_similarity(share, b.values, a.total.norm(), b.total.norm()).reshape(b.grid)
        best = divmod(int(cosines.argmax()), b.grid[1])
        return CellMatchOut(
            cell=cell,
            cell_box=a.geometry.cell_box(*cell, a.grid),
            best_cell=best,
            best_box=b.geometry.cell_box(*best, b.grid),
            cosines=as_grid(cosines.numpy()),
            shares=as_grid(shares.numpy()),
            contribution=float(shares.sum()),
            geometry=GeometryOut.of(b.geometry),
        )

    def query(self, id: str, region: Region | None = None) -> Query:
        """Return a picture, or a region of it, as a query; cached, so it is read and embedded once."""
        return self._queries.get_or_make((id, region), lambda: self._make_query(id, region))

    def _make_query(self, id: str, region: Region | None) -> Query:
        embedder = self._embedder
        if len(id) == _RECORD_ID_LENGTH and region is None:
            record = self.record(id)
            self._existing_file(record)  # raises 404 if the file is missing
            query = record_query(record, self.gallery.embedding(id), embedder, self._runner)
            with self._runner.expecting(), self._full_pictures:
                query.reduce_picture(_DRAWN_SIDE)
            return query
        source, name = self.source(id), self.title(id)
        if region is None:
            with self._runner.expecting(), self._full_pictures:
                reading, content = read_query(source, embedder, name=name)
                reading = reduced(reading, _DRAWN_SIDE)
            return whole_query(reading, embedder, id=content, runner=self._runner)
        with _as_unprocessable(), self._full_pictures:
            with self._runner.expecting():
                reading, content = read_image(source, embedder, name=name)
            query = region_query(reading, region, embedder, id=content, runner=self._runner)
            query.reduce_picture(_DRAWN_SIDE)
        return query

    # --- pictures -----------------------------------------------------------------------------

    def source(self, id: str) -> bytes:
        """Return the bytes of an upload or of a record's file. Raises HTTPException with status 404."""
        if len(id) != _RECORD_ID_LENGTH:
            upload = self._uploads.get(id)
            if upload is not None:
                return upload.data
            if (kept := self._kept(id)) is not None:
                return kept[1]
            raise HTTPException(
                404, f"upload {id} is unknown or no longer in memory; upload the picture again"
            )
        return images.file_bytes(self._existing_file(self.record(id)))

    def _existing_file(self, record: Record) -> Path:
        file = existing_file(record)
        if not images.is_there(file):
            raise HTTPException(404, f"the file {file.name} no longer exists; update the gallery")
        return file

    def title(self, id: str) -> str:
        """Return the file name of a picture, for captions."""
        if len(id) == _RECORD_ID_LENGTH:
            return Path(self.record(id).path).name
        if (upload := self._uploads.get(id)) is not None:
            return upload.name
        kept = self._kept(id)
        return "query" if kept is None else kept[0]

    def records(self, where: str | None) -> Sequence[Record]:
        """Return the records that pass a filter, or all. Raises FilterError."""
        records = self.gallery.records()
        if where is None:
            return records
        shown = zip(records, which_pass(records, where), strict=True)
        return [record for record, passes in shown if passes]

    def record(self, id: str) -> Record:
        """Return the record with this id. Raises HTTPException with status 404."""
        found = self.gallery.records([id])
        if not found:
            raise HTTPException(404, f"gallery {self.name} has no picture {id}")
        return found[0]

    def folders(self) -> set[str]:
        """Return the folders of the pictures, of the gallery, and of an image-text model."""
        found = {
            images.path_text(Path(file.path).parent)
            for record in self.gallery.records()
            for file in record.files
        }
        if self.gallery.uri is not None:
            found.add(str(Path(self.gallery.uri).parent))
        if (text := self.gallery.embedder.text) is not None:
            model = Path(text.name.removeprefix("local-dir:"))
            found |= {str(model.parent)} if model.is_absolute() else set()
        return found

    def picture_of_side(self, id: str, side: int) -> Picture:
        """Return a picture, reduced to at most ``side`` pixels on its longer side."""
        embedder = self.gallery.embedder
        picture = embedder.picture(self.source(id), at_least=(side // 2, side // 2), name=self.title(id))
        picture.image.thumbnail((side, side), reducing_gap=2.0)
        return picture


def _region(box: BoxPixels | None, polygon: Sequence[tuple[float, float]] | None) -> Region | None:
    with _as_unprocessable():
        return Region.of(box, polygon)


@contextmanager
def _as_unprocessable() -> Iterator[None]:
    """Turn a ValueError inside the block into an HTTPException with status 422."""
    try:
        yield
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


def picture_out(record: Record) -> PictureOut:
    """Return a record for the API, with its file name but not its folder on the server."""
    return PictureOut(id=record.id, name=Path(record.path).name, metadata=dict(record.metadata))


def _hit_out(hit: Hit) -> HitOut:
    return HitOut(
        rank=hit.rank,
        id=hit.id,
        name=hit.path.name,
        sha256=hit.record.hash,
        copies=len(hit.record.copies),
        copy_names=[Path(copy.path).name for copy in hit.record.copies],
        similarity=hit.similarity,
        score=hit.score,
        rank_before=hit.rank_before,
        probability=hit.probability,
        geometry=None if hit.verification is None else hit.verification.to_dict(),
        metadata=dict(hit.metadata),
        query_map=[] if hit.query_map is None else as_grid(hit.query_map),
    )
