"""Routes for cases: what people decide about the hits of searches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from lookalike.errors import GalleryError, LookalikeError
from lookalike.gallery import CaseFile, CasePair, read_case
from lookalike.gallery.cases.exchange import case_values
from lookalike.reports.case import case_report, pair_explanation
from lookalike.types import Explanation
from lookalike.web.case_schemas import (
    CaseOut,
    CaseRequest,
    CaseSummaryOut,
    DecisionRequest,
    ImportedOut,
    PairOut,
    UndoRequest,
)
from lookalike.web.routes import ServiceDep, StateDep
from lookalike.web.schemas import ErrorOut
from lookalike.web.service import GalleryService

cases_router = APIRouter(
    prefix="/api/galleries/{gallery}/cases",
    responses={code: {"model": ErrorOut} for code in (400, 401, 403, 404, 409, 413, 422, 503)},
)


def case_of(case: str, service: ServiceDep) -> CaseFile:
    """Return the case with this name. Raises HTTPException with status 404."""
    return service.case(case)


def person_of(request: Request) -> str | None:
    """Return the name that belongs to the request's token; None where no token has one."""
    return getattr(request.state, "person", None) or None


CaseDep = Annotated[CaseFile, Depends(case_of)]
PersonDep = Annotated[str | None, Depends(person_of)]
_HTML: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/html": {}}, "description": "A self-contained HTML file."}
}


@cases_router.get("")
def list_cases(service: ServiceDep, state: StateDep) -> list[CaseSummaryOut]:
    """List the cases of a gallery; none where it can't have any."""
    if not service.gallery.is_on_disk:
        return []
    found = []
    for name in service.gallery.cases():
        try:
            found.append(_summary(service.case(name)))
        except GalleryError as error:  # which harms none of the others
            damage = state.without_folders(str(error))
            found.append(CaseSummaryOut(name=name, created="", n_pairs=0, n_undecided=0, damage=damage))
    return found


@cases_router.post("", status_code=201)
def begin_case(service: ServiceDep, request: CaseRequest) -> CaseSummaryOut:
    """Begin a case, or return the one that has this name."""
    try:
        return _summary(service.gallery.case(request.name))
    except ValueError as error:
        raise HTTPException(422, str(error)) from error


@cases_router.get("/{case}")
def get_case(
    case: CaseDep,
    verdict: Annotated[
        Literal["same", "different", "unsure", "undecided"] | None, Query(description="Only these pairs.")
    ] = None,
) -> CaseOut:
    """Return a case with its pairs."""
    pairs = case.decisions()
    shown = pairs if verdict is None else case.decisions(verdict)
    return CaseOut(**_summary(case, pairs).model_dump(), pairs=[PairOut.of(pair) for pair in shown])


@cases_router.post("/{case}/decisions")
def decide(service: ServiceDep, case: CaseDep, person: PersonDep, request: DecisionRequest) -> PairOut:
    """Set verdict, note or tags of a pair; what is null stays. It is on the disk when this answers."""
    who = person or request.who
    try:
        pair = request.pair or _pair_of_search(service, case, request, who).id
        decided = case.decide(
            pair, request.verdict, note=request.note, tags=request.tags, who=who, seen=request.seen
        )
    except ValueError as error:
        raise HTTPException(422, str(error)) from error
    return PairOut.of(decided)


@cases_router.post("/{case}/undo")
def undo(case: CaseDep, person: PersonDep, request: UndoRequest) -> PairOut:
    """Take back the last decision that was not taken back yet; both stay in the history."""
    return PairOut.of(case.undo(person or request.who))


@cases_router.get("/{case}/report", response_class=Response, responses=_HTML)
def export_report(service: ServiceDep, state: StateDep, case: CaseDep) -> Response:
    """Return the case as one HTML file, decided pairs first."""

    def explain(pair: CasePair) -> Explanation:
        try:
            with service.model_in_turn():
                return pair_explanation(pair, case, service.gallery)
        except LookalikeError as error:
            raise LookalikeError(state.without_folders(str(error))) from error

    html = case_report(case, service.gallery, gallery_name=service.name, explain=explain)
    headers = {"content-disposition": 'attachment; filename="lookalike-case.html"'}
    return Response(html, media_type="text/html", headers=headers)


@cases_router.get("/{case}/export")
def export_case(case: CaseDep) -> dict[str, Any]:
    """Return all decisions as JSON, to be imported elsewhere; the folders of files are left out."""
    values = case_values(case)
    for pair in values["pairs"]:
        pair["query"]["path"] = pair["hit"]["path"] = None
    return values


@cases_router.post("/{case}/import")
def import_case(case: CaseDep, person: PersonDep, values: dict[str, Any]) -> ImportedOut:
    """Add the decisions of an exported case; what is the same already is left out.

    Where a client says that files lie is left out, as in an export.
    """
    pairs = [
        replace(pair, query=replace(pair.query, path=None), hit=replace(pair.hit, path=None))
        for pair in read_case(values)
    ]
    return ImportedOut(n_pairs=len(pairs), n_changed=case.import_decisions(pairs, who=person or ""))


def _pair_of_search(service: GalleryService, case: CaseFile, request: DecisionRequest, who: str) -> CasePair:
    """The pair of a hit of a search; the search is added to the case unless its pair is there already."""
    if request.search is None or request.hit is None:
        raise HTTPException(422, "give the pair, or the search and the hit that this is about")
    if (query := request.search.query) is None:
        raise HTTPException(
            422, "a case holds pairs of pictures; search with a picture to decide about its hits"
        )
    result = service.seen_result(request.search)
    hits = [hit.id for hit in result]
    if request.hit not in hits:
        raise HTTPException(422, f"{request.hit} is no hit of this search; search again")
    region = result.query.region
    box, polygon = (None, None) if region is None else (region.box, region.polygon)
    known = [
        pair
        for pair in case.decisions()
        if pair.query.id == result.query.id and pair.hit.id == request.hit and pair.is_of_region(box, polygon)
    ]
    if known:
        return known[0]
    picture = None if result.query.record is not None else service.source(query)
    pairs = case.add(
        result,
        picture,
        name=service.title(query),
        parameters=_parameters(request),
        who=who,
    )
    return pairs[hits.index(request.hit)]


def _parameters(request: DecisionRequest) -> dict[str, Any]:
    assert request.search is not None
    settings = request.search.model_dump(
        mode="json", exclude={"query", "box", "polygon", "liked", "disliked"}, exclude_defaults=True
    )
    examples = {"liked": request.search.liked, "disliked": request.search.disliked}
    return settings | ({"examples": examples} if any(examples.values()) else {})


def _summary(case: CaseFile, pairs: Sequence[CasePair] | None = None) -> CaseSummaryOut:
    pairs = case.decisions() if pairs is None else pairs
    undecided = sum(pair.verdict is None for pair in pairs)
    return CaseSummaryOut(name=case.name, created=case.created, n_pairs=len(pairs), n_undecided=undecided)
