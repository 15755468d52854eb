"""The routes of the HTTP API: read what is asked, ask the desk, answer a schema."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import ValidationError

from lookalike import __version__, render
from lookalike.render.colors import palette
from lookalike.render.overlay import explanation_limit
from lookalike.rerankers import RERANKERS, AvslReranking
from lookalike.web.caching import LeastRecent
from lookalike.web.desk import Desk, picture_out
from lookalike.web.drawing import colors, jpeg, picture_response, png_response
from lookalike.web.exporting import report_html
from lookalike.web.jobs import Jobs
from lookalike.web.limits import WebLimits
from lookalike.web.schemas import (
    AddRequest,
    Box,
    BoxText,
    CellMatchOut,
    ExplanationOut,
    GalleryOut,
    Health,
    JobOut,
    Palette,
    PictureId,
    PicturesOut,
    Refusal,
    SearchOut,
    SearchRequest,
    SearchSettings,
    UploadOut,
)
from lookalike.web.uploads import Uploads, read_form


@dataclass(frozen=True)
class Served:
    """What one app serves; routes find it at ``app.state.served``."""

    desks: Mapping[str, Desk]
    uploads: Uploads
    jobs: Jobs
    limits: WebLimits
    thumbnails: LeastRecent[tuple[str, str, int], bytes]

    @property
    def has_graph(self) -> bool:
        """Whether a gallery's model has a graph of nodes to re-rank by."""
        return any(desk.gallery.embedder.network.graph is not None for desk in self.desks.values())


def served(request: Request) -> Served:
    """What the app of a request serves."""
    found: Served = request.app.state.served
    return found


def desk_of(gallery: str, request: Request) -> Desk:
    """The gallery of that name; 404 where there is none."""
    desks = served(request).desks
    if gallery not in desks:
        raise HTTPException(404, f"there is no gallery of this name; there are {', '.join(desks)}")
    return desks[gallery]


def box_of(box: BoxText | None = None) -> Box | None:
    """Four numbers from ``left,top,right,bottom``."""
    if box is None:
        return None
    try:
        left, top, right, bottom = (float(part) for part in box.split(","))
    except ValueError as error:
        raise HTTPException(422, f"a box is left,top,right,bottom in pixels; got {box!r}") from error
    return left, top, right, bottom


AServed = Annotated[Served, Depends(served)]
ADesk = Annotated[Desk, Depends(desk_of)]
ABox = Annotated[Box | None, Depends(box_of)]
AMethod = Literal["shares", "avsl"]  # those whose maps sum to the similarity, whatever the network
Side = Annotated[int, Query(ge=16, le=2048, description="Pixels of the longer side, at most.")]
Pixel = Annotated[float, Query(allow_inf_nan=False)]
_FILE = {"type": "string", "format": "binary"}
_SCHEMA = {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
_FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _SCHEMA}}}}
_Responses = dict[int | str, dict[str, Any]]
_HTML: _Responses = {200: {"content": {"text/html": {}}, "description": "One file that needs no other."}}
_JPEG: _Responses = {200: {"content": {"image/jpeg": {}}, "description": "The picture."}}
_PNG: _Responses = {200: {"content": {"image/png": {}}, "description": "The picture under its map."}}

router = APIRouter(
    prefix="/api", responses={code: {"model": Refusal} for code in (401, 403, 404, 413, 415, 422)}
)


@router.get("/health")
def health(here: AServed) -> Health:
    """Whether the server runs, what it has and what it takes."""
    return Health(
        version=__version__,
        galleries=list(here.desks),
        rerankers=[name for name in RERANKERS if name != AvslReranking.name or here.has_graph],
        max_upload_bytes=here.limits.max_upload_bytes,
        may_add=here.jobs.folder is not None,
    )


@router.get("/palette")
def get_palette() -> Palette:
    """The colors of all maps."""
    return colors()


@router.get("/galleries")
def galleries(here: AServed) -> list[GalleryOut]:
    """All galleries of the server."""
    return [_described(desk) for desk in here.desks.values()]


@router.get("/galleries/{gallery}")
def describe(desk: ADesk) -> GalleryOut:
    """What a gallery holds."""
    return _described(desk)


@router.get("/galleries/{gallery}/pictures")
def pictures(
    desk: ADesk, offset: Annotated[int, Query(ge=0)] = 0, limit: Annotated[int, Query(ge=1, le=500)] = 60
) -> PicturesOut:
    """The gallery's pictures, some at a time."""
    records = desk.gallery.records()
    shown = records[offset : offset + limit]
    return PicturesOut(total=len(records), pictures=[picture_out(record) for record in shown])


@router.get("/galleries/{gallery}/pictures/{id}", response_class=Response, responses=_JPEG)
def picture(desk: ADesk, here: AServed, id: PictureId, side: Side = 1600) -> Response:
    """A picture of the gallery, or an uploaded one, upright and as JPEG; small ones are thumbnails."""
    make = lambda: jpeg(desk.picture_of_side(id, side).image)  # noqa: E731
    return picture_response(here.thumbnails.get_or_make((desk.name, id, side), make))


@router.post("/queries", status_code=201, openapi_extra=_FORM)
async def upload_query(request: Request, here: AServed) -> UploadOut:
    """Hand in a picture to search with; it is held in memory and never written to disk."""
    form = await read_form(request, here.limits)
    id, upload = await asyncio.to_thread(here.uploads.keep, form)
    return UploadOut(id=id, name=upload.name, height=upload.size[0], width=upload.size[1])


@router.post("/galleries/{gallery}/search")
def search(desk: ADesk, wanted: SearchRequest) -> SearchOut:
    """The most similar pictures, each with the map on the query that says why."""
    return desk.search(wanted.query, wanted)


@router.post("/galleries/{gallery}/search/upload", openapi_extra=_FORM)
async def search_by_upload(request: Request, desk: ADesk, here: AServed) -> SearchOut:
    """Search with the picture in field ``file``; field ``settings`` may hold settings as JSON."""
    form = await read_form(request, here.limits)
    settings = _settings(form.settings)
    id, _ = await asyncio.to_thread(here.uploads.keep, form)
    return await asyncio.to_thread(desk.search, id, settings)


@router.get("/galleries/{gallery}/explanation")
def explanation(
    desk: ADesk, query: PictureId, match: PictureId, box: ABox, method: AMethod = "shares"
) -> ExplanationOut:
    """Why two pictures match, as maps of numbers; with a box, a part of the first and the second."""
    found = desk.explanation(query, match, box, method)
    return ExplanationOut.of(found, explanation_limit([found], palette("lookalike")))


@router.get("/galleries/{gallery}/explanation/query.png", response_class=Response, responses=_PNG)
def query_overlay(
    desk: ADesk, query: PictureId, match: PictureId, box: ABox, side: Side = 1024, method: AMethod = "shares"
) -> Response:
    """The query under its map."""
    return png_response(render.query_overlay(desk.explanation(query, match, box, method), max_side=side))


@router.get("/galleries/{gallery}/explanation/match.png", response_class=Response, responses=_PNG)
def match_overlay(
    desk: ADesk, query: PictureId, match: PictureId, box: ABox, side: Side = 1024, method: AMethod = "shares"
) -> Response:
    """The match under its map."""
    return png_response(render.match_overlay(desk.explanation(query, match, box, method), max_side=side))


@router.get("/galleries/{gallery}/cells")
def cells(desk: ADesk, here: PictureId, there: PictureId, x: Pixel, y: Pixel) -> CellMatchOut:
    """Where the cell at pixel (x, y) of one picture finds its counterpart in another."""
    return desk.cells(here, there, x, y)


@router.post("/galleries/{gallery}/report", response_class=Response, responses=_HTML)
def report(desk: ADesk, wanted: SearchRequest) -> Response:
    """A search as one HTML file."""
    headers = {"content-disposition": 'attachment; filename="lookalike-report.html"'}
    return Response(report_html(desk, wanted), media_type="text/html", headers=headers)


@router.post("/galleries/{gallery}/jobs", status_code=202)
def add_folder(desk: ADesk, here: AServed, wanted: AddRequest) -> JobOut:
    """Add a folder in the background, if the server was started with permission."""
    return here.jobs.add_folder(desk.gallery, wanted.folder)


@router.post("/galleries/{gallery}/jobs/upload", status_code=202, openapi_extra=_FORM)
async def add_upload(request: Request, desk: ADesk, here: AServed) -> JobOut:
    """Add one picture that is sent, if the server was started with permission."""
    form = await read_form(request, here.limits)
    return await asyncio.to_thread(here.jobs.add_upload, desk.gallery, form)


@router.get("/jobs/{id}")
def job(here: AServed, id: str) -> JobOut:
    """How far a job has come."""
    found = here.jobs.get(id)
    if found is None:
        raise HTTPException(404, "there is no such job")
    return found


def _described(desk: Desk) -> GalleryOut:
    description = desk.gallery.describe()
    return GalleryOut(
        name=desk.name,
        n_images=description.n_images,
        n_files=description.n_files,
        model=description.model,
        created=description.created,
        has_probabilities=description.calibration is not None,
        metadata_fields=description.metadata_fields,
    )


def _settings(text: str) -> SearchSettings:
    try:
        return SearchSettings.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise HTTPException(422, f"{where}: {first['msg']}") from error
