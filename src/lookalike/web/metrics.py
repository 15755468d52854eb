"""What the server does, counted and timed for Prometheus; no address, name or id of a client is kept."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import final

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    generate_latest,
    multiprocess,
)
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)  # seconds
_OTHER = "other"  # what no route answered: refused before, or unknown
_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")  # a client may send any word
_OF_WORKERS = "PROMETHEUS_MULTIPROC_DIR"  # where several workers keep their counts, as the library wants it


@final
class ServerMetrics:
    """Counters of one app: requests by route and status, their seconds, and how many are worked on."""

    def __init__(self, sizes: Mapping[str, int]) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "lookalike_requests", "Requests answered.", ("method", "route", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "lookalike_request_seconds",
            "Seconds until a whole answer.",
            ("route",),
            registry=self._registry,
            buckets=_BOUNDS,
        )
        self.active = Gauge(
            "lookalike_requests_active",
            "Requests worked on or waiting.",
            registry=self._registry,
            multiprocess_mode="livesum",
        )
        pictures = Gauge(
            "lookalike_gallery_images",
            "Images of each gallery when the server started.",
            ("gallery",),
            registry=self._registry,
            multiprocess_mode="max",
        )
        for name, size in sizes.items():
            pictures.labels(name).set(size)
        if _OF_WORKERS not in os.environ:
            ProcessCollector(registry=self._registry)  # memory, processor time, open files

    def as_text(self) -> bytes:
        """All metrics in Prometheus' text format; those of all workers where they share a folder."""
        registry = self._registry
        if _OF_WORKERS in os.environ:
            registry = CollectorRegistry()
            multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


@final
class MeasuringMiddleware:
    """Counts and times every request, also those that are refused."""

    def __init__(self, app: ASGIApp, *, metrics: ServerMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and note its route, status and time."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, start = 500, time.perf_counter()

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        self._metrics.active.inc()
        try:
            await self._app(scope, receive, noting_status)
        finally:
            self._metrics.active.dec()
            route = getattr(scope.get("route"), "path", None) or _OTHER
            method = scope["method"] if scope["method"] in _METHODS else _OTHER
            self._metrics.requests.labels(method, route, status).inc()
            self._metrics.seconds.labels(route).observe(time.perf_counter() - start)


metrics_router = APIRouter(prefix="/api")


@metrics_router.get("/metrics", response_class=Response)
def get_metrics(request: Request) -> Response:
    """Report counts and times of requests, sizes of galleries and memory, in Prometheus' text format."""
    metrics: ServerMetrics = request.app.state.metrics
    return Response(metrics.as_text(), media_type=CONTENT_TYPE_LATEST)
