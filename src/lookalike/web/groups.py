"""The route of groups: copies, near-duplicates and the same thing in one gallery, by ids and names."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from pydantic import BaseModel, Field

from lookalike.gallery.groups import Groups, PictureGroup
from lookalike.gallery.links import GROUP_KINDS, GroupKind
from lookalike.web.routes import ServiceDep
from lookalike.web.schemas import ErrorOut


class GroupedFileOut(BaseModel):
    """A file of a group."""

    id: str
    name: str
    keep: bool | None = Field(description="A suggestion; null for pictures of the same thing.")
    reason: str


class GroupLinkOut(BaseModel):
    """Evidence that two files show the same; the numbers are positions in the list of files."""

    kind: GroupKind
    first: int
    second: int
    similarity: float
    change: list[str] = Field(description="What was done to the second.")
    transformation: list[list[float]] | None = Field(
        description="3 x 3, from original pixels of the first to those of the second; near-duplicates only."
    )


class GroupOut(BaseModel):
    """Files that belong together."""

    kind: GroupKind
    files: list[GroupedFileOut]
    links: list[GroupLinkOut]


class GroupsOut(BaseModel):
    """The groups of a gallery."""

    groups: list[GroupOut]
    threshold: float | None = Field(description="Cosine from which pictures count as the same thing.")
    remark: str
    n_unreadable: int


def groups_router() -> APIRouter:
    """Return the router of one app; it groups one gallery at a time."""
    router = APIRouter(
        prefix="/api", responses={code: {"model": ErrorOut} for code in (401, 404, 409, 422, 503)}
    )
    running = threading.Lock()

    @router.get("/galleries/{gallery}/groups")
    def group_pictures(
        service: ServiceDep,
        kind: Annotated[list[GroupKind] | None, Query(description="By default all three.")] = None,
        precision: Annotated[float | None, Query(gt=0, lt=1)] = None,
        min_similarity: Annotated[float | None, Query(ge=-1, le=1)] = None,
        neighbors: Annotated[int, Query(ge=1, le=100)] = 10,
    ) -> GroupsOut:
        """Group copies, near-duplicates and pictures of the same thing; reads every picture."""
        if not running.acquire(blocking=False):
            raise HTTPException(503, "pictures are being grouped for someone else; try again later")
        try:
            found = service.gallery.groups(
                kinds=tuple(kind or GROUP_KINDS),
                precision=precision,
                min_similarity=min_similarity,
                neighbors=neighbors,
            )
            ids = {file.path: record.id for record in service.gallery.records() for file in record.files}
        except ValueError as error:
            raise HTTPException(422, str(error)) from error
        finally:
            running.release()
        return _groups_out(found, ids)

    return router


def _groups_out(found: Groups, ids: dict[str, str]) -> GroupsOut:
    return GroupsOut(
        groups=[_group_out(group, ids) for group in found],
        threshold=found.threshold,
        remark=found.remark,
        n_unreadable=len(found.unreadable),
    )


def _group_out(group: PictureGroup, ids: dict[str, str]) -> GroupOut:
    """A group without the folders of the server."""
    advice = {each.path: each for each in group.advice}
    number = {path: place for place, path in enumerate(group.paths)}
    files = [
        GroupedFileOut(
            id=ids[path],
            name=Path(path).name,
            keep=advice[path].keep if path in advice else None,
            reason=group.with_names(advice[path].reason) if path in advice else "",
        )
        for path in group.paths
    ]
    links = [
        GroupLinkOut(
            kind=link.kind,
            first=number[link.first],
            second=number[link.second],
            similarity=link.similarity,
            change=list(link.change),
            transformation=None if link.alignment is None else link.alignment.matrix.tolist(),
        )
        for link in group.links
    ]
    return GroupOut(kind=group.kind, files=files, links=links)
