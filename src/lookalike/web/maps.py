"""Routes for the map of a gallery: positions, columns to color by, tables, and tags."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Any, final

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Response

from lookalike.errors import unknown_name
from lookalike.gallery.filters import which_pass
from lookalike.gallery.mapping import CollectionMap
from lookalike.gallery.mapping.columns import map_column
from lookalike.gallery.mapping.layouts import has_umap
from lookalike.reports.map import packed_points
from lookalike.web.caching import LRUCache
from lookalike.web.map_schemas import (
    LayoutText,
    MapClusterOut,
    MapColumnOut,
    MapOut,
    PicturesRequest,
    TaggedOut,
    TagsRequest,
)
from lookalike.web.routes import ServiceDep
from lookalike.web.schemas import ErrorOut, PictureOut, RecordId
from lookalike.web.service import GalleryService, picture_out

_MOST_PICTURES = 120  # whose names are asked for at once
_MOST_MAPS = 4
_MOST_COLUMNS = 40  # of one map
_Responses = dict[int | str, dict[str, Any]]
_BINARY: _Responses = {200: {"content": {"application/octet-stream": {}}, "description": "See above."}}
_CSV: _Responses = {200: {"content": {"text/csv": {}}, "description": "A table with a line of names."}}


@final
class ServedMap:
    """A map with what was sent of it, so that it is encoded once."""

    def __init__(self, found: CollectionMap) -> None:
        self.found = found
        self._columns: LRUCache[str, MapColumnOut] = LRUCache(_MOST_COLUMNS)

    @cached_property
    def ids(self) -> np.ndarray:
        """Ids (G,) in the order of the rows, which is sorted."""
        return np.array([record.id for record in self.found.records], dtype="U20")

    @cached_property
    def points(self) -> bytes:
        """The points as they are sent; see ``packed_points``."""
        return packed_points(self.found)

    def out(self) -> MapOut:
        """The map without its points."""
        rows = {id: row for row, id in enumerate(self.ids.tolist())}
        return MapOut(
            layout=self.found.layout,
            layouts=["umap", "pca"] if has_umap() or self.found.layout == "umap" else ["pca"],
            key=self.found.key,
            n_pictures=len(self.found),
            remark=self.found.remark,
            fields=self.found.fields,
            clusters=[
                MapClusterOut(
                    number=g.number, size=g.size, title=g.title, typical=[rows[id] for id in g.typical]
                )
                for g in self.found.groups
            ],
        )

    def column(self, field: str) -> MapColumnOut:
        """A metadata field. Raises HTTPException with status 404 for one that no picture has."""
        if field not in self.found.fields:
            raise HTTPException(404, str(unknown_name("field", field, self.found.fields)))

        def make() -> MapColumnOut:
            return MapColumnOut.model_construct(**map_column(self.found.records, field).to_dict())

        return self._columns.get_or_make(field, make)

    def passing(self, where: str) -> bytes:
        """A bit for each row, whether a file of the picture passes a filter; the first row is the lowest bit.

        Raises FilterError.
        """
        return np.packbits(np.array(which_pass(self.found.records, where), bool), bitorder="little").tobytes()

    def rows_of(self, ids: Sequence[str]) -> list[int]:
        """The rows of ids. Raises HTTPException with status 404 for an id that is not on the map."""
        places = np.minimum(np.searchsorted(self.ids, np.array(ids, dtype="U20")), len(self.ids) - 1)
        for id, place in zip(ids, places.tolist(), strict=True):
            if self.ids[place] != id:
                raise HTTPException(404, f"the map has no picture {id}; load it again")
        return [int(place) for place in places]


def maps_router(waiting_seconds: float) -> APIRouter:
    """Return the router of one app; one map is made at a time, and others wait this long for it."""
    router = APIRouter(
        prefix="/api/galleries/{gallery}",
        responses={code: {"model": ErrorOut} for code in (400, 401, 403, 404, 409, 413, 422, 503)},
    )
    making = threading.Lock()
    kept: LRUCache[tuple[str, str], ServedMap] = LRUCache(_MOST_MAPS)

    def served(service: GalleryService, layout: str | None, key: str | None = None) -> ServedMap:
        if not making.acquire(timeout=waiting_seconds):
            detail = "a map is being laid out, which takes minutes for a large gallery; try again later"
            raise HTTPException(503, detail, {"retry-after": "10"})
        try:
            found = service.gallery.map(layout)
            before = kept.get((service.name, found.layout))
            if before is None or before.found is not found:
                before = ServedMap(found)
                kept.put((service.name, found.layout), before)
        finally:
            making.release()
        if key is not None and key != found.key:
            raise HTTPException(409, "the gallery has changed since the map was shown; load it again")
        return before

    @router.get("/map")
    def get_map(service: ServiceDep, layout: LayoutText | None = None) -> MapOut:
        """Lay the pictures out, or return the layout that is kept; clusters with their typical pictures."""
        return served(service, layout).out()

    @router.get("/map/points", response_class=Response, responses=_BINARY)
    def get_map_points(service: ServiceDep, key: _Key, layout: LayoutText | None = None) -> Response:
        """Return all points: for n rows 2 n float32 (x, y), n int32 (cluster, -1: none), 10 n bytes (ids).

        Numbers are little-endian.
        """
        points = served(service, layout, key).points
        return Response(points, media_type="application/octet-stream", headers={"cache-control": "no-store"})

    @router.get("/map/passing", response_class=Response, responses=_BINARY)
    def get_map_passing(
        service: ServiceDep,
        key: _Key,
        where: Annotated[
            str, Query(min_length=1, max_length=4000, description="Filter on metadata, as of a search.")
        ],
        layout: LayoutText | None = None,
    ) -> Response:
        """Return a bit for each row, whether its picture passes a filter; the first row is the lowest bit."""
        bits = served(service, layout, key).passing(where)
        return Response(bits, media_type="application/octet-stream", headers={"cache-control": "no-store"})

    @router.get("/map/column")
    def get_map_column(
        service: ServiceDep,
        key: _Key,
        field: Annotated[str, Query(min_length=1, max_length=200)],
        layout: LayoutText | None = None,
    ) -> MapColumnOut:
        """Return a metadata field of every row, to color the points by."""
        return served(service, layout, key).column(field)

    @router.get("/map/pictures")
    def get_map_pictures(
        service: ServiceDep,
        id: Annotated[list[RecordId], Query(min_length=1, max_length=_MOST_PICTURES)],
    ) -> list[PictureOut]:
        """Return names and metadata of pictures; ids that are gone are left out."""
        return [picture_out(record) for record in service.gallery.records(id)]

    @router.post("/map/csv", response_class=Response, responses=_CSV)
    def export_map_rows(service: ServiceDep, request: PicturesRequest) -> Response:
        """Return pictures as a table: id, name, x, y, cluster, metadata."""
        shown = served(service, request.layout)
        text = shown.found.to_csv(shown.rows_of(request.ids), with_folders=False)
        return Response(text.encode(), media_type="text/csv; charset=utf-8")

    @router.post("/tags")
    def tag_pictures(service: ServiceDep, request: TagsRequest) -> TaggedOut:
        """Give pictures tags, or take tags from them. They are in the gallery when this answers."""
        try:
            changed = service.gallery.tag(request.ids, add=request.add, remove=request.remove)
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        return TaggedOut(n_changed=len(changed))

    return router


_Key = Annotated[str, Query(min_length=1, max_length=64, description="Of the map that is shown.")]
