"""A search as one HTML file that can be handed on."""

from __future__ import annotations

import datetime

from fastapi import HTTPException

from lookalike.gallery import Hit
from lookalike.reports.page import ReportedMatch, pair_report
from lookalike.web.schemas import SearchRequest
from lookalike.web.service import GalleryService


def report_html(service: GalleryService, request: SearchRequest) -> str:
    """The report of a search; 422 where it finds nothing."""
    hits = service.hits(request.query, request)
    matches = [
        ReportedMatch(service.why(request.query, hit), _remark(hit)) for hit in hits if service.has_file(hit)
    ]
    if not matches:
        raise HTTPException(422, "there is nothing to report: no hit, or none whose file is still there")
    title = f"What matches {service.title(request.query)}?"
    facts = _facts(service, request, hits) | {"method": matches[0].explanation.method}
    return pair_report(matches, title=title, facts=facts)


def _remark(hit: Hit) -> str:
    moved = "" if hit.rank_before in (None, hit.rank) else f"was {hit.rank_before} before re-ranking; "
    return f"{moved}SHA-256 {hit.record.hash}"


def _facts(service: GalleryService, request: SearchRequest, hits: list[Hit]) -> dict[str, str]:
    asked = request.model_dump(exclude={"query"}, exclude_none=True, exclude_defaults=True)
    return {
        "gallery": f"{service.name}, {len(service.gallery)} pictures",
        "model": service.gallery.embedder.name,
        "search": ", ".join(f"{name} {value}" for name, value in asked.items()) or "the whole picture",
        "found": f"{len(hits)} matches",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
    }
