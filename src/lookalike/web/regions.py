"""The route of what is on a photograph: its regions, each with the picture of the gallery that it shows."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from lookalike.gallery.searching_regions import RegionHit
from lookalike.types import Progress
from lookalike.web.caching import LRUCache
from lookalike.web.routes import ServiceDep, TurnDep
from lookalike.web.schemas import BoxPixels, ErrorOut, PictureId, RecordId

_FOLLOWED = 100  # requests whose progress is kept

Ticket = Annotated[str, StringConstraints(pattern="^[A-Za-z0-9_-]{16,64}$")]


class RegionsRequest(BaseModel):
    """A photograph on the server, given by the id of an upload or of a picture of the gallery."""

    model_config = ConfigDict(extra="forbid")

    query: PictureId
    where: Annotated[str, StringConstraints(max_length=4000)] | dict[str, Any] | None = Field(
        default=None, description="Filter on metadata, as of a search."
    )
    limit: int = Field(default=12, ge=1, le=24, description="Number of regions to propose.")
    shortlist: int = Field(default=50, ge=1, le=200, description="Pictures to verify for each region.")
    leave_self_out: bool = Field(default=False, description="Leave out the photograph itself.")
    ticket: Ticket | None = Field(
        default=None, description="A random name of your own; ask /api/progress/NAME how far this request is."
    )


class RegionOut(BaseModel):
    """A region of the photograph with the best picture of the gallery for it."""

    box: BoxPixels = Field(description="Of what was found, or of the region; in pixels of the photograph.")
    outline: list[tuple[float, float]] = Field(description="Corners (x, y) of what was found.")
    is_match: bool = Field(description="Whether the probability is 0.5 or more.")
    id: RecordId
    name: str
    similarity: float = Field(description="Cosine of the region searched by with the picture, [-1, 1].")
    probability: float | None
    inliers: int = Field(description="Points that agree.")
    mirrored: bool
    others: list[str] = Field(description="Names of further matches at the same place, such as duplicates.")


class RegionsOut(BaseModel):
    """What is on the photograph: matches first, then regions without a certain one."""

    regions: list[RegionOut]
    searched: int = Field(description="Number of regions that were searched by.")
    seconds: float


class ProgressOut(BaseModel):
    """How far a request is."""

    stage: str = Field(description="What is being done; each stage counts anew.")
    done: int
    total: int
    remaining: float | None = Field(description="Estimated seconds left of this stage; null at first.")


def regions_router() -> APIRouter:
    """Return the router of one app."""
    codes = (401, 404, 422, 503)
    reached: LRUCache[str, ProgressOut] = LRUCache(_FOLLOWED)  # by ticket
    router = APIRouter(prefix="/api", responses={code: {"model": ErrorOut} for code in codes})

    @router.post("/galleries/{gallery}/regions")
    async def search_by_regions(service: ServiceDep, in_turn: TurnDep, request: RegionsRequest) -> RegionsOut:
        """Say which pictures of the gallery a photograph shows, and where; each is verified by geometry."""

        def note(now: Progress) -> None:
            if request.ticket is not None:
                at = ProgressOut(stage=now.stage, done=now.done, total=now.total, remaining=now.remaining)
                reached.put(request.ticket, at)

        def work() -> RegionsOut:
            start = time.perf_counter()
            options = request.model_dump(exclude={"query", "ticket"})
            found = service.regions(request.query, progress=note, **options)
            regions = [_region_out(each) for each in found]
            return RegionsOut(regions=regions, searched=found.n_searched, seconds=time.perf_counter() - start)

        return await in_turn(work)

    @router.get("/progress/{ticket}")
    def get_progress(ticket: Ticket) -> ProgressOut:
        """Say how far the request with this ticket is: "waiting" before it begins, and if there is none."""
        return reached.get(ticket) or ProgressOut(stage="waiting", done=0, total=0, remaining=None)

    return router


def _region_out(found: RegionHit) -> RegionOut:
    """A region without the folders of the server."""
    hit, evidence = found.hit, found.hit.verification
    return RegionOut(
        box=found.box,
        outline=list(found.outline),
        is_match=found.is_match,
        id=hit.id,
        name=hit.path.name,
        similarity=hit.similarity,
        probability=hit.probability,
        inliers=0 if evidence is None else evidence.n_inliers,
        mirrored=evidence is not None and evidence.mirrored,
        others=[Path(each.record.path).name for each in found.others],
    )
