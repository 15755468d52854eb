"""One served gallery: searches, explanations and pictures, with the model behind one lock."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np
from fastapi import HTTPException

from lookalike import images
from lookalike.explainers import SharesExplainer, explain_shares, make_explainer
from lookalike.gallery import Gallery, Hit
from lookalike.gallery.queries import ask_region, existing_file
from lookalike.ops.attribution import cell_similarity
from lookalike.ops.similarity import cosine_similarity
from lookalike.store import Record
from lookalike.types import Explanation, Geometry, Picture, Shares
from lookalike.web.caching import LeastRecent
from lookalike.web.schemas import (
    Box,
    CellMatchOut,
    GeometryOut,
    HitOut,
    PictureOut,
    SearchOut,
    SearchSettings,
    UploadOut,
    as_grid,
)
from lookalike.web.uploads import Uploads

Corners = tuple[tuple[float, float], ...]
_RECORD_DIGITS = 20  # a record's id is shorter than an upload's
_SHARES_HELD, _PICTURES_HELD = 64, 24
_DRAWN_SIDE = 1600  # pixels; explanations are drawn on pictures of at least half this where they have it


@final
class GalleryService:
    """Answers questions about one gallery; every method may be called from any thread."""

    def __init__(self, name: str, gallery: Gallery, uploads: Uploads, lock: threading.Lock) -> None:
        self.name, self.gallery, self._uploads, self._lock = name, gallery, uploads, lock
        self._shares: LeastRecent[tuple[str, Box | None, Corners | None], Shares] = LeastRecent(_SHARES_HELD)
        self._pictures: LeastRecent[str, Picture] = LeastRecent(_PICTURES_HELD)

    # --- searching ----------------------------------------------------------------------------

    def search(self, query: str, settings: SearchSettings) -> SearchOut:
        """The answer of a search, each hit with its map on the query."""
        start = time.perf_counter()
        hits = self.hits(query, settings)
        geometry = self._geometry(query, settings)
        height, width = geometry.original_size
        maps = [hit.query_map for hit in hits if hit.query_map is not None]
        return SearchOut(
            query=UploadOut(id=query, name=self.title(query), height=height, width=width),
            query_geometry=GeometryOut.of(geometry),
            hits=[_hit_out(hit) for hit in hits],
            limit=max((float(np.abs(m).max()) * m.size / 100 for m in maps), default=0.0),
            seconds=time.perf_counter() - start,
        )

    def _geometry(self, query: str, settings: SearchSettings) -> Geometry:
        """Where the query's maps lie: those of a part may have a grid of their own."""
        if settings.box is None and settings.polygon is None:
            return self.gallery.embedder.read(self.source(query))[1]
        polygon = None if settings.polygon is None else tuple(settings.polygon)
        return self.shares(query, settings.box, polygon).geometry

    def hits(self, query: str, settings: SearchSettings) -> list[Hit]:
        """The hits themselves; what does not fit the gallery or the query is a 422."""
        source = self.source(query)
        try:
            with self._lock:
                return self.gallery.search(
                    query if len(query) == _RECORD_DIGITS else source,
                    explain=True,
                    **settings.model_dump(exclude={"query"}),
                )
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    # --- explaining ---------------------------------------------------------------------------

    def explanation(
        self, query: str, match: str, box: Box | None, method: str = SharesExplainer.name
    ) -> Explanation:
        """Why two pictures match, or a part of the first and the second."""
        if method != SharesExplainer.name:
            return self._explanation_by(method, query, match, box)
        return explain_shares(
            self.shares(query, box),
            self.shares(match),
            self.picture(query),
            self.picture(match),
            model=self.gallery.embedder.name,
        )

    def _explanation_by(self, method: str, query: str, match: str, box: Box | None) -> Explanation:
        if box is not None:
            raise HTTPException(422, f"method {method} explains whole pictures; ask without a box")
        sources = self.source(query), self.source(match)
        with self._lock:
            found = make_explainer(self.gallery.embedder, method)(*sources)
        return replace(found, query=self.picture(query), match=self.picture(match))

    def why(self, query: str, hit: Hit) -> Explanation:
        """Why a search found a hit, whatever part of the query it asked about."""
        with self._lock:
            found = hit.why()
        return replace(found, query=self.picture(query), match=self.picture(hit.id))

    def has_file(self, hit: Hit) -> bool:
        """Whether a hit's picture can still be shown."""
        return existing_file(hit.record).exists()

    def cells(self, here: str, there: str, x: float, y: float) -> CellMatchOut:
        """Where the cell of one picture at a pixel finds its counterpart in another."""
        a, b = self.shares(here), self.shares(there)
        cell = a.geometry.cell_at(x, y, a.grid)
        if cell is None:
            raise HTTPException(422, f"the pixel ({x:g}, {y:g}) lies outside what the model sees")
        i = cell[0] * a.grid[1] + cell[1]
        share = a.values[i : i + 1]  # (1, D)
        cosines = cosine_similarity(share, b.values).reshape(b.grid)
        parts = cell_similarity(share, b.values, a.total.norm(), b.total.norm()).reshape(b.grid)
        best = divmod(int(cosines.argmax()), b.grid[1])
        return CellMatchOut(
            cell=cell,
            cell_box=a.geometry.cell_box(*cell, a.grid),
            best_cell=best,
            best_box=b.geometry.cell_box(*best, b.grid),
            cosines=as_grid(cosines.numpy()),
            shares=as_grid(parts.numpy()),
            contribution=float(parts.sum()),
            geometry=GeometryOut.of(b.geometry),
        )

    def shares(self, id: str, box: Box | None = None, polygon: Corners | None = None) -> Shares:
        """What each cell of a picture, or of a part of it, contributes to its embedding; remembered."""
        return self._shares.get_or_make((id, box, polygon), lambda: self._shares_now(id, box, polygon))

    def _shares_now(self, id: str, box: Box | None, polygon: Corners | None) -> Shares:
        source = self.source(id)
        try:
            with self._lock:
                if box is None and polygon is None:
                    return self.gallery.embedder.shares(source)
                return ask_region(source, self.gallery.embedder, box=box, polygon=polygon).shares
        except ValueError as error:
            raise HTTPException(422, str(error)) from error

    # --- pictures -----------------------------------------------------------------------------

    def source(self, id: str) -> bytes:
        """The bytes of an uploaded picture or of a record's file; 404 where there are none."""
        if len(id) != _RECORD_DIGITS:
            upload = self._uploads.get(id)
            if upload is None:
                raise HTTPException(404, f"there is no uploaded picture {id} (any more); upload it again")
            return upload.data
        record = self.record(id)
        file = existing_file(record)
        if not file.exists():
            raise HTTPException(404, f"the file of {file.name} is gone; update the gallery")
        return images.file_bytes(file)

    def title(self, id: str) -> str:
        """What people call the picture."""
        upload = self._uploads.get(id) if len(id) != _RECORD_DIGITS else None
        return upload.name if upload else Path(self.record(id).path).name

    def record(self, id: str) -> Record:
        """The record with an id; 404 where there is none."""
        found = self.gallery.records([id])
        if not found:
            raise HTTPException(404, f"gallery {self.name} has no picture {id}")
        return found[0]

    def picture(self, id: str) -> Picture:
        """A picture to draw on, of moderate size; remembered."""
        return self._pictures.get_or_make(id, lambda: self.picture_of_side(id, _DRAWN_SIDE))

    def picture_of_side(self, id: str, side: int) -> Picture:
        """A picture whose longer side has at most so many pixels."""
        picture = images.load(self.source(id), at_least=(side // 2, side // 2), name=self.title(id))
        picture.image.thumbnail((side, side), reducing_gap=2.0)
        return picture


def picture_out(record: Record) -> PictureOut:
    """A record as the API shows it: its name without the server's folders."""
    return PictureOut(id=record.id, name=Path(record.path).name, metadata=dict(record.metadata))


def _hit_out(hit: Hit) -> HitOut:
    assert hit.query_map is not None
    return HitOut(
        rank=hit.rank,
        id=hit.id,
        name=hit.path.name,
        sha256=hit.record.hash,
        copies=len(hit.record.copies),
        similarity=hit.similarity,
        score=hit.score,
        rank_before=hit.rank_before,
        probability=hit.probability,
        metadata=dict(hit.metadata),
        query_map=as_grid(hit.query_map),
    )
