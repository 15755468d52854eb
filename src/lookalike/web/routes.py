"""Routes of the HTTP API; each calls the gallery's service and returns a schema."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response
from pydantic import ValidationError

from lookalike import __version__, render
from lookalike.errors import unknown_name
from lookalike.render.overlay import explanation_limit
from lookalike.rerankers import RERANKERS, AvslReranking, GeometryReranking
from lookalike.rerankers.local_features import has_opencv
from lookalike.types import GraphExplanation
from lookalike.web.caching import LRUCache
from lookalike.web.drawing import jpeg, palette_out, picture_response, png_response
from lookalike.web.graphs import GraphExplanationOut
from lookalike.web.jobs import Jobs
from lookalike.web.limits import WebLimits
from lookalike.web.schemas import (
    MAX_CORNERS,
    AddRequest,
    BoxPixels,
    BoxText,
    CellMatchOut,
    ErrorOut,
    ExplanationOut,
    GalleryOut,
    HealthOut,
    JobOut,
    PaletteOut,
    PictureId,
    PicturesOut,
    PolygonText,
    RecordId,
    SearchOut,
    SearchRequest,
    SearchSettings,
    TextExplanationOut,
    UploadOut,
    WordsText,
    validation_message,
)
from lookalike.web.service import GalleryService, picture_out
from lookalike.web.turns import Turn, Turns
from lookalike.web.uploads import Form, Uploads, read_form


@dataclass(frozen=True)
class AppState:
    """Galleries, uploads, jobs and caches of one app, stored as ``app.state.lookalike``."""

    services: Mapping[str, GalleryService]
    uploads: Uploads
    jobs: Jobs
    limits: WebLimits
    thumbnails: LRUCache[tuple[str, str, int], bytes]
    turns: Turns

    @property
    def has_graph(self) -> bool:
        """Whether some gallery's model is an AVSL model, which the re-ranker ``avsl`` needs."""
        return any(service.gallery.embedder.network.graph is not None for service in self.services.values())

    def offers(self, reranker: str) -> bool:
        """Whether a re-ranker can be asked for: avsl needs such a model, geometry needs OpenCV."""
        if reranker == GeometryReranking.name:
            return has_opencv()
        return reranker != AvslReranking.name or self.has_graph

    def without_folders(self, message: str) -> str:
        """Return a message without the folders of this server that lie before names in it."""
        folders = {str(folder) for folder in (self.jobs.folder,) if folder is not None}
        for service in self.services.values():
            folders |= service.folders()
        for folder in sorted(folders, key=len, reverse=True):
            message = message.replace(folder.rstrip("/") + "/", "")
        return message


def app_state(request: Request) -> AppState:
    """Return the state of the app that received a request."""
    found: AppState = request.app.state.lookalike
    return found


def service_of(gallery: str, request: Request) -> GalleryService:
    """Return the service of the gallery with this name. Raises HTTPException with status 404."""
    services = app_state(request).services
    if gallery not in services:
        raise HTTPException(404, str(unknown_name("gallery", gallery, services)))
    return services[gallery]


def box_of(box: BoxText | None = None) -> BoxPixels | None:
    """Parse ``left,top,right,bottom``. Raises HTTPException with status 422."""
    if box is None:
        return None
    try:
        left, top, right, bottom = (float(part) for part in box.split(","))
    except ValueError as error:
        raise HTTPException(422, f"a box is left,top,right,bottom in pixels; got {box!r}") from error
    return left, top, right, bottom


def polygon_of(polygon: PolygonText | None = None) -> list[tuple[float, float]] | None:
    """Parse ``x,y,x,y,...``. Raises HTTPException with status 422."""
    if polygon is None:
        return None
    numbers = [float(part) for part in polygon.split(",")]
    if len(numbers) % 2 or not 6 <= len(numbers) <= 2 * MAX_CORNERS:
        detail = (
            f"a polygon is x,y in pixels of each of 3 to {MAX_CORNERS:,} corners; got {len(numbers)} numbers"
        )
        raise HTTPException(422, detail)
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def turn_of(request: Request) -> Turn:
    """Return what runs work that needs the model, when the request's turn comes."""
    return app_state(request).turns.of(request)


StateDep = Annotated[AppState, Depends(app_state)]
TurnDep = Annotated[Turn, Depends(turn_of)]
ServiceDep = Annotated[GalleryService, Depends(service_of)]
BoxDep = Annotated[BoxPixels | None, Depends(box_of)]
PolygonDep = Annotated[list[tuple[float, float]] | None, Depends(polygon_of)]
MethodName = Literal["shares", "avsl", "transport"]  # those that explain an order
Contrast = Annotated[
    bool, Query(description="Map what both share beyond what all pictures of the gallery share.")
]
Liked = Annotated[
    list[RecordId], Query(max_length=200, description="Examples of the search, as in its request.")
]
Side = Annotated[int, Query(ge=16, le=2048, description="Largest length of the longer side in pixels.")]
LargeSide = Annotated[int, Query(ge=16, le=8192, description="Largest length of the longer side in pixels.")]
Pixel = Annotated[float, Query(allow_inf_nan=False, description="In pixels of the first picture.")]
_FILE = {"type": "string", "format": "binary"}
_SCHEMA = {"type": "object", "required": ["file"], "properties": {"file": _FILE}}
_FORM = {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": _SCHEMA}}}}
_Responses = dict[int | str, dict[str, Any]]
_HTML: _Responses = {200: {"content": {"text/html": {}}, "description": "A self-contained HTML file."}}
_JPEG: _Responses = {200: {"content": {"image/jpeg": {}}, "description": "The picture."}}
_PNG: _Responses = {
    200: {"content": {"image/png": {}}, "description": "The picture with its map drawn over it."}
}

router = APIRouter(
    prefix="/api",
    responses={code: {"model": ErrorOut} for code in (400, 401, 403, 404, 408, 409, 413, 415, 422, 503, 507)},
)


@router.get("/health")
def health(state: StateDep, request: Request) -> HealthOut:
    """Report the server's status, galleries, re-rankers and limits."""
    return HealthOut(
        version=__version__,
        galleries=list(state.services),
        answers_words=[name for name, service in state.services.items() if service.gallery.answers_words],
        rerankers=[name for name in RERANKERS if state.offers(name)],
        max_upload_bytes=state.limits.max_upload_bytes,
        may_add=state.jobs.folder is not None,
        person=getattr(request.state, "person", ""),
    )


@router.get("/palette")
def get_palette() -> PaletteOut:
    """Return the colors of all maps."""
    return palette_out()


@router.get("/galleries")
def list_galleries(state: StateDep) -> list[GalleryOut]:
    """List the galleries of the server."""
    return [_described(service) for service in state.services.values()]


@router.get("/galleries/{gallery}")
def describe(service: ServiceDep) -> GalleryOut:
    """Describe a gallery: its size, model and metadata fields."""
    return _described(service)


@router.get("/galleries/{gallery}/pictures")
def list_pictures(
    service: ServiceDep,
    offset: Annotated[int, Query(ge=0)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 60,
    where: Annotated[
        str | None, Query(min_length=1, max_length=4000, description="Filter on metadata, as of a search.")
    ] = None,
) -> PicturesOut:
    """List the pictures of a gallery, one page at a time."""
    records = service.records(where)
    shown = records[offset : offset + limit]
    return PicturesOut(total=len(records), pictures=[picture_out(record) for record in shown])


@router.get("/galleries/{gallery}/pictures/{id}", response_class=Response, responses=_JPEG)
def get_picture(service: ServiceDep, state: StateDep, id: PictureId, side: LargeSide = 1600) -> Response:
    """Return a picture of the gallery, or an uploaded one, upright and as JPEG."""
    make = lambda: jpeg(service.picture_of_side(id, side).image)  # noqa: E731
    return picture_response(state.thumbnails.get_or_make((service.name, id, side), make))


@router.post("/galleries/{gallery}/pictures/{id}/query", status_code=201)
def query_from(service: ServiceDep, state: StateDep, id: PictureId) -> UploadOut:
    """Take a picture of this gallery as a query for any other."""
    form = Form(service.title(id), service.source(id), "{}")
    return _kept(state, form)


@router.post("/queries", status_code=201, openapi_extra=_FORM)
async def upload_query(request: Request, state: StateDep) -> UploadOut:
    """Upload a picture to search with; it is kept in memory, until a decision in a case keeps its file."""
    form = await read_form(request, state.limits)
    return await asyncio.to_thread(_kept, state, form)


@router.post("/galleries/{gallery}/search")
async def search(service: ServiceDep, in_turn: TurnDep, request: SearchRequest) -> SearchOut:
    """Search for the most similar pictures; each hit has a map over the query that explains it."""
    return await in_turn(lambda: service.search(request))


@router.post("/galleries/{gallery}/search/upload", openapi_extra=_FORM)
async def search_by_upload(
    request: Request, service: ServiceDep, state: StateDep, in_turn: TurnDep
) -> SearchOut:
    """Search with the picture in the field `file`; the optional field `settings` holds JSON."""
    form = await read_form(request, state.limits)
    settings = _settings(form.settings)
    id, _ = await asyncio.to_thread(state.uploads.keep, form)
    wanted = _request(query=id, **settings.model_dump())
    return await in_turn(lambda: service.search(wanted))


@router.get("/galleries/{gallery}/explanation")
async def explain(
    service: ServiceDep,
    in_turn: TurnDep,
    query: PictureId,
    match: PictureId,
    box: BoxDep,
    polygon: PolygonDep,
    method: MethodName = "shares",
    contrast: Contrast = False,
    liked: Liked = [],  # noqa: B006 - FastAPI copies it
    disliked: Liked = [],  # noqa: B006
) -> GraphExplanationOut | ExplanationOut:
    """Explain why two pictures match, as maps of numbers; `box` limits it to a part of the query.

    Method `avsl` adds the levels of its graph, its strongest nodes and what it corrected.
    """

    def work() -> GraphExplanationOut | ExplanationOut:
        result = service.explanation(
            query, match, box, method, polygon=polygon, contrast=contrast, liked=liked, disliked=disliked
        )
        limit = explanation_limit([result])
        if isinstance(result, GraphExplanation):
            return GraphExplanationOut.of_graph(result, limit)
        return ExplanationOut.of(result, limit)

    return await in_turn(work)


@router.get("/galleries/{gallery}/explanation/query.png", response_class=Response, responses=_PNG)
async def query_overlay(
    service: ServiceDep,
    in_turn: TurnDep,
    query: PictureId,
    match: PictureId,
    box: BoxDep,
    polygon: PolygonDep,
    side: Side = 1024,
    method: MethodName = "shares",
    contrast: Contrast = False,
    liked: Liked = [],  # noqa: B006 - FastAPI copies it
    disliked: Liked = [],  # noqa: B006
) -> Response:
    """Draw the map over the query."""

    def work() -> Response:
        result = service.explanation(
            query, match, box, method, polygon=polygon, contrast=contrast, liked=liked, disliked=disliked
        )
        return png_response(render.query_overlay(result, max_side=side))

    return await in_turn(work)


@router.get("/galleries/{gallery}/explanation/match.png", response_class=Response, responses=_PNG)
async def match_overlay(
    service: ServiceDep,
    in_turn: TurnDep,
    query: PictureId,
    match: PictureId,
    box: BoxDep,
    polygon: PolygonDep,
    side: Side = 1024,
    method: MethodName = "shares",
    contrast: Contrast = False,
    liked: Liked = [],  # noqa: B006 - FastAPI copies it
    disliked: Liked = [],  # noqa: B006
) -> Response:
    """Draw the map over the match."""

    def work() -> Response:
        result = service.explanation(
            query, match, box, method, polygon=polygon, contrast=contrast, liked=liked, disliked=disliked
        )
        return png_response(render.match_overlay(result, max_side=side))

    return await in_turn(work)


def words_of(
    box: BoxDep,
    polygon: PolygonDep,
    text: WordsText | None = None,
    query: PictureId | None = None,
    weight: Annotated[float, Query(gt=0, lt=1)] = 0.5,
    unlike: Annotated[list[WordsText], Query(max_length=8)] = [],  # noqa: B006
) -> SearchRequest:
    """Return what was searched for by words, from the address of an explanation."""
    return _request(query=query, box=box, polygon=polygon, text=text, weight=weight, unlike=unlike)


WordsDep = Annotated[SearchRequest, Depends(words_of)]


@router.get("/galleries/{gallery}/explanation/words")
async def explain_words(
    in_turn: TurnDep, service: ServiceDep, asked: WordsDep, match: PictureId
) -> TextExplanationOut:
    """Explain where a picture answers words: all of them, and each by itself."""

    def work() -> TextExplanationOut:
        result = service.words(asked, match)
        return TextExplanationOut.of_text(result, explanation_limit([result]))

    return await in_turn(work)


@router.get("/galleries/{gallery}/explanation/words.png", response_class=Response, responses=_PNG)
async def words_overlay(
    in_turn: TurnDep,
    service: ServiceDep,
    asked: WordsDep,
    match: PictureId,
    side: Side = 1024,
    part: Annotated[int | None, Query(ge=0, description="Number of a part, from 0; all without it.")] = None,
) -> Response:
    """Draw the map of the words, or of one of them, over the picture."""

    def work() -> Response:
        result = service.words(asked, match)
        if part is not None:
            if part >= len(result.parts):
                raise HTTPException(422, f"there are parts 0 to {len(result.parts) - 1}; got {part}")
            result = replace(result, match=result.parts[part].map)
        return png_response(render.match_overlay(result, max_side=side))

    return await in_turn(work)


@router.get("/galleries/{gallery}/cells")
async def compare_cells(
    service: ServiceDep,
    in_turn: TurnDep,
    first: PictureId,
    second: PictureId,
    x: Pixel,
    y: Pixel,
    box: BoxDep,
    polygon: PolygonDep,
    box_on: Annotated[Literal["first", "second"], Query(description="The picture of the region.")] = "first",
) -> CellMatchOut:
    """Compare the cell at pixel (x, y) of the first picture with every cell of the second.

    `box` or `polygon` limits one of them to the part that was searched by, as in its explanation.
    """
    return await in_turn(lambda: service.cells(first, second, x, y, box=box, polygon=polygon, box_on=box_on))


@router.post("/galleries/{gallery}/report", response_class=Response, responses=_HTML)
async def report(service: ServiceDep, in_turn: TurnDep, request: SearchRequest) -> Response:
    """Search and return the hits with their maps as one HTML file."""
    headers = {"content-disposition": 'attachment; filename="lookalike-report.html"'}
    html = await in_turn(lambda: service.report(request))
    return Response(html, media_type="text/html", headers=headers)


@router.post("/galleries/{gallery}/jobs", status_code=202)
def add_folder(service: ServiceDep, state: StateDep, request: AddRequest) -> JobOut:
    """Add a folder in the background; needs a server started with --add-from."""
    return state.jobs.add_folder(service.gallery, request.folder)


@router.post("/galleries/{gallery}/jobs/upload", status_code=202, openapi_extra=_FORM)
async def add_upload(request: Request, service: ServiceDep, state: StateDep) -> JobOut:
    """Upload a picture and add it in the background; needs a server started with --add-from."""
    form = await read_form(request, state.limits)
    return await asyncio.to_thread(state.jobs.add_upload, service.gallery, form)


@router.get("/jobs/{id}")
def get_job(state: StateDep, id: str) -> JobOut:
    """Report the progress of a job."""
    found = state.jobs.get(id)
    if found is None:
        raise HTTPException(404, f"there is no job {id!r}; it may be too old")
    return found.model_copy(update={"conflicts": [state.without_folders(each) for each in found.conflicts]})


def _kept(state: AppState, form: Form) -> UploadOut:
    id, upload = state.uploads.keep(form)
    return UploadOut(id=id, name=upload.name, height=upload.size[0], width=upload.size[1])


def _described(service: GalleryService) -> GalleryOut:
    description = service.gallery.describe()
    return GalleryOut(
        name=service.name,
        n_images=description.n_images,
        n_files=description.n_files,
        model=description.model,
        created=description.created,
        answers_words=service.gallery.answers_words,
        has_probabilities=description.calibration is not None,
        infers_distance=service.gallery.infers_distance,
        metadata_fields=description.metadata_fields,
    )


def _request(**fields: object) -> SearchRequest:
    """A request of these fields. Raises HTTPException with status 422 for what one may not hold."""
    try:
        return SearchRequest.model_validate(fields)
    except ValidationError as error:
        raise HTTPException(422, validation_message(error.errors())) from error


def _settings(text: str) -> SearchSettings:
    try:
        return SearchSettings.model_validate_json(text)
    except ValidationError as error:
        raise HTTPException(422, validation_message(error.errors())) from error
