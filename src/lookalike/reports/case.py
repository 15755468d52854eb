"""The report of a case, to be handed over: what was decided, with pictures, maps, hashes and parameters."""

from __future__ import annotations

import datetime
import hashlib
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from PIL import Image, ImageDraw

from lookalike import __version__, render
from lookalike.errors import LookalikeError
from lookalike.explainers import Avsl, SharesExplainer, TransportExplainer, make_explainer
from lookalike.gallery import CaseFile, CasePair, Gallery
from lookalike.gallery.cases.labeled import query_bytes
from lookalike.gallery.query import Query, image_query, record_query
from lookalike.gallery.verifying import verified_pair
from lookalike.reports.page import data_uri, page, thumbnail
from lookalike.rerankers import GeometryReranking
from lookalike.rerankers.local_features import has_opencv
from lookalike.types import Explanation

_SIDE = 420  # pixels of the longer side of pictures
_EVIDENCE_WIDTH = 900  # pixels of both pictures with the points that agree
_ORDER = ("same", "unsure", "different")  # decided pairs first, what was found before what was not
_WORDS = {"same": "same", "different": "different", "unsure": "unsure", None: "undecided"}

ExplainPair = Callable[[CasePair], Explanation]
DrawEvidence = Callable[[CasePair], str | None]


def case_report(
    case: CaseFile,
    gallery: Gallery,
    *,
    gallery_name: str | None = None,
    most: int = 60,
    explain: ExplainPair | None = None,
) -> str:
    """Return a case as one HTML file: decided pairs with pictures and maps, then the undecided as a list.

    Pictures are reduced to 420 pixels, and the first ``most`` decided pairs have them, so that the file
    stays small; the others are listed with their hashes. Maps are computed anew by the gallery's model,
    which is the one they were seen with where the fingerprints agree. ``gallery_name`` is shown instead of
    the gallery's URI, and ``explain`` replaces the explanation of a pair, for example to take turns.
    """
    explain = explain or (lambda pair: pair_explanation(pair, case, gallery))
    pairs = case.decisions()
    decided = sorted((pair for pair in pairs if pair.verdict), key=_key)
    undecided = [pair for pair in pairs if not pair.verdict]
    description = gallery.describe()
    people = sorted({pair.who for pair in decided if pair.who})
    now = datetime.datetime.now().astimezone()
    counts = ", ".join(f"{sum(p.verdict == v for p in decided)} {v}" for v in _ORDER)
    return page(
        "case.html",
        title=f"Case: {case.name}",
        summary=f"{len(decided):,} of {len(pairs):,} pairs decided: {counts}.",
        groups=_groups(decided[:most], explain, lambda pair: _evidence(pair, case, gallery)),
        listed=[_line(pair) for pair in (*decided[most:], *undecided)],
        n_unpictured=max(0, len(decided) - most),
        facts={
            "gallery": f"{gallery_name or description.uri}, {description.n_images:,} images",
            "model": f"{description.model}, fingerprint {description.fingerprint}",
            "decided by": ", ".join(people) or "nobody gave a name",
            "case begun": case.created,
            "file made": f"{now:%Y-%m-%d %H:%M %Z} with lookalike {__version__}",
            "history": f"{len(case.history()):,} events, SHA-256 {_history_hash(case)}",
        },
    )


def pair_explanation(pair: CasePair, case: CaseFile, gallery: Gallery) -> Explanation:
    """Return the maps of a pair, by the method that its search was explained by.

    Raises UnreadableImageError for a file that is gone, GalleryError for a hit the gallery has forgotten.
    """
    embedder = gallery.embedder
    query = image_query(query_bytes(case, pair), embedder, pair.region, name=pair.query.name)
    match = _record_query(pair, gallery)
    if pair.method == TransportExplainer.name:
        shares = gallery.shares(pair.hit.id)
        return TransportExplainer(embedder).of_shares(
            query.reading, query.shares, match.reading, shares, match_unit=match.unit
        )
    if pair.method == Avsl.name:
        return make_explainer(embedder, pair.method)(query.reading, match.reading)
    query = gallery.with_examples(query, **pair.examples)
    if pair.region is not None or gallery.keeps_shares or query.examples is not None:
        by_last = SharesExplainer(embedder, layer="last")
        return by_last.of_passes(*query.at_last_layer, *match.at_last_layer, match_unit=match.unit)
    explainer = SharesExplainer(embedder)
    a, b = query.reading, match.reading
    return explainer.of_passes(a, explainer.open(a), b, explainer.open(b), match_unit=match.unit)


def _evidence(pair: CasePair, case: CaseFile, gallery: Gallery) -> str | None:
    """The picture of the points that agree and the outlines, of a pair that was found by geometry."""
    is_verified = GeometryReranking.name in str(pair.parameters.get("rerank", "")).split("+")
    if not is_verified or not has_opencv():
        return None
    query = gallery.embedder.picture(query_bytes(case, pair), name=pair.query.name)
    record = gallery.records([pair.hit.id])[0]
    odds = gallery.match_odds
    found = verified_pair(query, pair.region, record, pair.similarity, odds, gallery.embedder)
    if not found.verification.n_inliers:
        return None
    return data_uri(render.inlier_lines(found, width=_EVIDENCE_WIDTH))


def _record_query(pair: CasePair, gallery: Gallery) -> Query:
    embedding = gallery.embedding(pair.hit.id)
    return record_query(gallery.records([pair.hit.id])[0], embedding, gallery.embedder)


def _key(pair: CasePair) -> tuple[Any, ...]:
    region = str(pair.box or pair.polygon or "")
    return pair.query.name, pair.query.sha256, region, _ORDER.index(str(pair.verdict)), pair.rank or 0


def _groups(
    pairs: Sequence[CasePair], explain: ExplainPair, evidence: DrawEvidence
) -> list[dict[str, object]]:
    """The pairs of each query or region, under its photograph."""
    groups = groupby(pairs, key=lambda pair: (pair.query.sha256, pair.box, pair.polygon))
    return [_group(list(members), explain, evidence) for _, members in groups]


def _group(pairs: Sequence[CasePair], explain: ExplainPair, evidence: DrawEvidence) -> dict[str, object]:
    first, rows, photo = pairs[0], [], None
    for pair in pairs:
        row: dict[str, object] = {
            **_line(pair),
            "query_map": None,
            "match_map": None,
            "photo": None,
            "evidence": None,
        }
        try:
            explanation = explain(pair)
            row["evidence"] = evidence(pair)
        except (LookalikeError, ValueError) as error:  # ValueError: a region outside the picture
            row["missing"] = str(error)
        else:
            photo = photo or data_uri(_marked(explanation.query.picture.image, explanation, pair))
            row |= {
                "query_map": data_uri(render.query_overlay(explanation, max_side=_SIDE)),
                "match_map": data_uri(render.match_overlay(explanation, max_side=_SIDE)),
                "photo": data_uri(thumbnail(explanation.match.picture.image, _SIDE)),
                "missing": _difference(pair, explanation),
            }
        rows.append(row)
    return {
        "name": first.query.name,
        "region": _region_words(first),
        "sha256": first.query.sha256,
        "photo": photo,
        "rows": rows,
    }


def _difference(pair: CasePair, explanation: Explanation) -> str:
    """A sentence where the maps are of another similarity than was seen; empty where they agree."""
    if pair.method != SharesExplainer.name or abs(explanation.similarity - pair.similarity) < 2e-3:
        return ""
    if pair.parameters.get("text") or pair.parameters.get("unlike"):
        alone = f"{explanation.similarity:z.3f}"
        return f"It was searched in words as well; the maps are of the two pictures alone, {alone}."
    return (
        f"Today this model gives {explanation.similarity:z.3f}: the maps are of that, not of what was seen."
    )


def _marked(image: Image.Image, explanation: Explanation, pair: CasePair) -> Image.Image:
    """The query reduced, with the outline of its region."""
    small = thumbnail(image, _SIDE).convert("RGB")
    height, width = explanation.query.picture.original_size
    x, y = small.width / width, small.height / height
    corners = pair.polygon
    if pair.box is not None:
        left, top, right, bottom = pair.box
        corners = ((left, top), (right, top), (right, bottom), (left, bottom))
    if corners is not None:
        drawing = ImageDraw.Draw(small)
        outline = [(a * x, b * y) for a, b in (*corners, corners[0])]
        for color, thickness in (("black", 5), ("white", 2)):
            drawing.line(outline, fill=color, width=thickness, joint="curve")
    return small


def _line(pair: CasePair) -> dict[str, object]:
    """What is said of a pair in words."""
    parameters = {name: value for name, value in pair.parameters.items() if name != "examples"}
    liked, disliked = (len(ids) for ids in pair.examples.values())
    settings = ", ".join(f"{name} {value}" for name, value in parameters.items())
    if liked or disliked:
        settings += f", with {liked} liked and {disliked} disliked as examples"
    return {
        "verdict": _WORDS[pair.verdict],
        "name": pair.hit.name,
        "query": pair.query.name,
        "region": _region_words(pair),
        "similarity": f"{pair.similarity:z.3f}",
        "probability": "" if pair.probability is None else f"{pair.probability:z.2f}",
        "rank": pair.rank,
        "note": pair.note,
        "tags": pair.tags,
        "who": pair.who,
        "when": pair.when,
        "seen": pair.seen or f"none; drawn here by {pair.method}",
        "settings": settings,
        "sha256": pair.hit.sha256,
        "query_sha256": pair.query.sha256,
        "fingerprint": pair.fingerprint,
        "metadata": ", ".join(f"{name}: {value}" for name, value in pair.metadata.items()),
    }


def _region_words(pair: CasePair) -> str:
    if pair.box is not None:
        return "box " + ", ".join(f"{side:g}" for side in pair.box)
    if pair.polygon is not None:
        return "polygon " + " ".join(f"({x:g}, {y:g})" for x, y in pair.polygon)
    return ""


def _history_hash(case: CaseFile) -> str:
    """SHA-256 of all events, one a line: another history has another hash."""
    digest = hashlib.sha256()
    for event in case.history():
        digest.update(f"{event.number} {event.time} {event.who} {event.kind} {event.body}\n".encode())
    return digest.hexdigest()
