"""The FastAPI app: middleware, routes, the page, and errors as one sentence of JSON."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import FileResponse, JSONResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException as StarletteHTTPException
from starlette.requests import ClientDisconnect

from lookalike import __version__
from lookalike.errors import FilterError, GalleryError, LookalikeError
from lookalike.gallery import Gallery
from lookalike.reports.map import MAP_FILES
from lookalike.web.caching import LRUCache
from lookalike.web.cases import cases_router
from lookalike.web.clients import VanishedError
from lookalike.web.groups import groups_router
from lookalike.web.jobs import Jobs
from lookalike.web.limits import WebLimits
from lookalike.web.maps import maps_router
from lookalike.web.memory import returning_memory
from lookalike.web.metrics import MeasuringMiddleware, ServerMetrics, metrics_router
from lookalike.web.model_turns import ModelLock
from lookalike.web.regions import regions_router
from lookalike.web.routes import AppState, router
from lookalike.web.schemas import validation_message
from lookalike.web.security import SecurityMiddleware, names_of_tokens
from lookalike.web.service import GalleryService
from lookalike.web.turns import Turns
from lookalike.web.uploads import Uploads

_STATIC = Path(__file__).parent / "static"
_MAX_THUMBNAILS, _MAX_THUMBNAIL_BYTES = 4000, 128 * 2**20

_logger = logging.getLogger(__name__)


def create_app(
    galleries: Gallery | Mapping[str, Gallery],
    *,
    token: str | Collection[str] | None = None,
    limits: WebLimits | None = None,
    add_from: Path | None = None,
    allowed_hosts: Collection[str] | None = None,
) -> FastAPI:
    """Return the app that serves the HTTP API and the page for one gallery or several by name.

    With a ``token``, or several, every route except the page and its static files requires one; of
    ``anna:secret``, all of which is the token, decisions in cases are by anna. Clients may add
    pictures from the folder ``add_from`` and upload pictures to it; None disables adding. Requests for
    a host name not in ``allowed_hosts``, if given, are answered with 400. Raises ValueError for gallery
    names that can't be part of a URL, and an empty token.
    """
    tokens = names_of_tokens(token)
    named = galleries if isinstance(galleries, Mapping) else {_name_of(galleries): galleries}
    limits = limits or WebLimits()
    state = _app_state(named, limits, add_from)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        returning = asyncio.create_task(returning_memory(state.turns.were_taken))
        yield
        returning.cancel()
        state.turns.close()
        state.jobs.close()
        state.uploads.close()

    app = FastAPI(
        title="lookalike",
        summary="Find the images that match, rank them better, and see why.",
        version=__version__,
        lifespan=lifespan,
        openapi_url="/api/openapi.json",
        docs_url=None,  # FastAPI's own pages load scripts from other hosts
        redoc_url=None,
    )
    app.state.lookalike = state
    app.state.metrics = ServerMetrics({name: len(gallery) for name, gallery in named.items()})
    app.include_router(router)
    app.include_router(cases_router)
    app.include_router(groups_router())
    app.include_router(regions_router())
    app.include_router(maps_router(limits.waiting_seconds))
    app.include_router(metrics_router)
    app.mount("/static/map", StaticFiles(directory=MAP_FILES), name="map")
    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
    app.get("/", include_in_schema=False, response_class=FileResponse)(_page)
    app.add_middleware(SecurityMiddleware, tokens=tokens, limits=limits, hosts=allowed_hosts)
    app.add_middleware(MeasuringMiddleware, metrics=app.state.metrics)  # outside, so it sees refusals
    for kind, handler in _ERROR_HANDLERS.items():
        app.add_exception_handler(kind, handler)
    return app


def _app_state(galleries: Mapping[str, Gallery], limits: WebLimits, add_from: Path | None) -> AppState:
    invalid = [name for name in galleries if not re.fullmatch(r"[\w-][\w.-]*", name)]
    if not galleries:
        raise ValueError("expected at least one gallery by name; got none")
    if invalid:
        raise ValueError(
            f"a gallery's name may contain letters, digits, '-', '_' and '.'; got {invalid}; rename it"
        )
    uploads, model = Uploads(limits), ModelLock()
    services = {
        name: GalleryService(name, gallery, uploads, model, limits) for name, gallery in galleries.items()
    }
    thumbnails: LRUCache[tuple[str, str, int], bytes] = LRUCache(
        _MAX_THUMBNAILS, max_size=_MAX_THUMBNAIL_BYTES, size=len
    )
    return AppState(
        services, uploads, Jobs(add_from, limits, uploads, model), limits, thumbnails, Turns(limits)
    )


def _name_of(gallery: Gallery) -> str:
    return re.sub(r"[^\w-]", "-", Path(gallery.uri).stem if gallery.uri else "gallery") or "gallery"


def _page() -> str:
    return str(_STATIC / "index.html")


def _lookalike_error(request: Request, error: Exception) -> JSONResponse:
    state: AppState = request.app.state.lookalike
    detail = state.without_folders(str(error))
    is_asked_wrongly = isinstance(error, FilterError) or not isinstance(error, GalleryError)
    return JSONResponse({"detail": detail}, 422 if is_asked_wrongly else 409)


def _invalid_request(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return JSONResponse({"detail": validation_message(error.errors(), skip=1)}, 422)


def _refused(request: Request, error: Exception) -> JSONResponse:
    """FastAPI's own answer, but 422 for a body that is no text, as for other bodies that are no JSON.

    ``Allow`` names the methods of all routes of the path; of its own, only those of the first.
    """
    assert isinstance(error, StarletteHTTPException)
    if error.status_code == 400:
        return JSONResponse({"detail": "the body can't be read as JSON; send JSON in UTF-8"}, 422)
    if error.status_code == 405:
        return JSONResponse({"detail": error.detail}, 405, {"allow": ", ".join(sorted(_methods(request)))})
    return JSONResponse({"detail": error.detail}, error.status_code, error.headers)


def _methods(request: Request) -> set[str]:
    """The methods that some route of the app takes at the path of a request."""
    paths = request.app.openapi()["paths"]
    return {
        method.upper()
        for path, found in paths.items()
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)), request.url.path)
        for method in found
    } or {"GET"}


def _vanished(request: Request, _: Exception) -> JSONResponse:
    """The client left before all of its request had arrived."""
    return _refused(request, VanishedError())


def _internal_error(request: Request, _: Exception) -> JSONResponse:
    _logger.error("%s %s failed", request.method, request.url.path)
    return JSONResponse({"detail": "internal error; see the server log"}, 500)


_ERROR_HANDLERS: dict[type[Exception], Callable[[Request, Exception], JSONResponse]] = {
    LookalikeError: _lookalike_error,
    RequestValidationError: _invalid_request,
    StarletteHTTPException: _refused,
    ClientDisconnect: _vanished,
    Exception: _internal_error,
}
