"""One self-contained HTML file: a query, its matches and why each is one. Opens offline, prints."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from lookalike import render
from lookalike.types import Explanation

_PICTURE_SIDE = 560  # pixels of the longer side of pictures in the report


@dataclass(frozen=True)
class ReportedMatch:
    """One row of the report."""

    explanation: Explanation
    remark: str = ""  # what the reader should know of this match; empty: nothing


def pair_report(
    matches: Sequence[ReportedMatch], *, title: str, facts: Mapping[str, str], summary: str = ""
) -> str:
    """The report of one query against its matches, best first, as HTML.

    ``facts`` are listed at the end: model, method, date, parameters. All explanations must be of
    one query and method, as ``render.strip`` asks; their maps share one colour range.
    """
    if not matches:
        raise ValueError("a report needs at least one match, got none")
    explanations = [match.explanation for match in matches]
    best = explanations[0]
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=title,
            summary=summary,
            query_name=best.query.name,
            query_photo=_data_uri(_shown(best.query.image)),
            best_picture=_data_uri(render.side_by_side(best)),
            method=best.method,
            additive=best.additive,
            rows=[_row(rank, match, explanations) for rank, match in enumerate(matches, start=1)],
            facts=facts,
        )
    )


def _row(rank: int, match: ReportedMatch, among: Sequence[Explanation]) -> dict[str, object]:
    explanation = match.explanation
    return {
        "rank": rank,
        "name": explanation.match.name,
        "similarity": f"{explanation.similarity:.3f}",
        "residual": f"{explanation.residual:+.3f}" if explanation.additive else None,
        "remark": match.remark,
        "photo": _data_uri(_shown(explanation.match.image)),
        "match_map": _data_uri(render.match_overlay(explanation, among=among, max_side=_PICTURE_SIDE)),
        "query_map": _data_uri(render.query_overlay(explanation, among=among, max_side=_PICTURE_SIDE)),
    }


def _shown(image: Image.Image) -> Image.Image:
    copy = image.copy()
    copy.thumbnail((_PICTURE_SIDE, _PICTURE_SIDE), Image.Resampling.LANCZOS)
    return copy


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
