"""Self-contained HTML reports that open offline and print: a query with its matches and their maps.

``page`` renders the templates of the other reports as well. The only importer of jinja2.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from lookalike import render
from lookalike.render.legend import ends_in_words
from lookalike.render.ranges import side_limits
from lookalike.types import ColorScale, Explanation, GraphExplanation, ImageMap

_PICTURE_SIDE = 560  # pixels of the longer side of images in the report
_GRAPH_WIDTH = 900  # pixels of pictures with levels and nodes


@dataclass(frozen=True)
class ReportedMatch:
    """One match in the report."""

    explanation: Explanation
    remark: str = ""  # a note shown beside the match
    record: str = ""  # for the record, folded away
    is_right: bool | None = None  # whether it shows what was asked for, where that is known
    evidence: Image.Image | None = None  # a picture of points that agree, shown below the maps


def pair_report(
    matches: Sequence[ReportedMatch], *, title: str, facts: Mapping[str, str], summary: str = ""
) -> str:
    """Return the HTML report of one query and its matches, best first.

    ``facts`` are listed at the end: model, method, date, parameters. All explanations must have the
    same query and method, as for ``render.strip``; attributions share one color range, or one for each side
    where one of both would be blank, heat maps are drawn each between its own ends. Raises ValueError
    without matches.
    """
    if not matches:
        raise ValueError("a report needs at least one match, got none")
    explanations = [match.explanation for match in matches]
    best = explanations[0]
    return page(
        "report.html",
        title=title,
        summary=summary,
        query_name=best.query.name,
        query_photo=data_uri(thumbnail(best.query.picture.image)),
        best_picture=data_uri(render.side_by_side(best)),
        method=best.method,
        additive=best.additive,
        ranges=_ranges(explanations),
        rows=[_row(rank, match, explanations) for rank, match in enumerate(matches, start=1)],
        facts=facts,
    )


def _row(rank: int, match: ReportedMatch, among: Sequence[Explanation]) -> dict[str, object]:
    explanation = match.explanation
    return {
        "rank": rank,
        "name": explanation.match.name,
        "similarity": f"{explanation.similarity:z.3f}",
        "residual": _residual(explanation),
        "remark": match.remark,
        "record": match.record,
        "is_right": match.is_right,
        "query_ends": _ends(explanation, explanation.query),
        "match_ends": _ends(explanation, explanation.match),
        "evidence": None if match.evidence is None else data_uri(match.evidence),
        "graph": _graph(explanation) if rank > 1 else None,  # the best match is drawn whole above
        "photo": data_uri(thumbnail(explanation.match.picture.image)),
        "match_map": data_uri(render.match_overlay(explanation, among=among, max_side=_PICTURE_SIDE)),
        "query_map": data_uri(render.query_overlay(explanation, among=among, max_side=_PICTURE_SIDE)),
    }


def _ends(explanation: Explanation, side: ImageMap) -> str:
    """The ends of a heat map's own color range in words; empty for attributions, which share theirs."""
    return "" if explanation.additive else f": {ends_in_words(ColorScale.between_ends(side.values))}"


def _ranges(explanations: Sequence[Explanation]) -> str:
    """In words: the color ranges of attributions; empty for heat maps."""
    if not explanations[0].additive:
        return ""
    query, match = side_limits(explanations)
    if query == match:
        return f"All maps below share one color range, to {query:#.3g} per 1 % of the area seen."
    return (
        f"The maps on the matches share one color range, to {match:#.3g} per 1 % of the area seen, those "
        f"on the query another, to {query:#.3g}: in one range, one of both would be blank."
    )


def _graph(explanation: Explanation) -> str | None:
    """A picture of the levels and nodes of an AVSL explanation; None for others."""
    if not isinstance(explanation, GraphExplanation):
        return None
    return data_uri(render.side_by_side(explanation, width=_GRAPH_WIDTH))


def _residual(explanation: Explanation) -> str | None:
    """The query's residual and its parts; None for heat maps."""
    if not explanation.additive:
        return None
    words = explanation.query.residual_words
    return f"{explanation.residual:+z.3f}" + (f" ({words})" if words else "")


def thumbnail(image: Image.Image, side: int = _PICTURE_SIDE) -> Image.Image:
    """Return a copy of the image, reduced to at most ``side`` pixels on its longer side."""
    copy = image.copy()
    copy.thumbnail((side, side), Image.Resampling.LANCZOS)
    return copy


def data_uri(image: Image.Image) -> str:
    """Return the image as a data URI (WebP), to be embedded in a page."""
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, format="WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def page(template: str, **values: object) -> str:
    """Render a template of this package. Values are escaped; a missing value is an error."""
    return _environment().get_template(template).render(**values)


def _environment() -> Environment:
    loader = FileSystemLoader(Path(__file__).parent / "templates")
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined)
