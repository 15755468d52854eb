"""Reports of a search: a self-contained HTML file with explanations, or a CSV file."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from PIL import Image

from lookalike import __version__, render
from lookalike.errors import GalleryError, UnreadableImageError
from lookalike.gallery import Gallery, Hit
from lookalike.reports.page import ReportedMatch, pair_report
from lookalike.types import Explanation

_COLUMNS = ("rank", "path", "similarity", "probability", "score", "rank_before", "id", "sha256", "metadata")
_SHORT_HASH = 16  # digits shown beside an image; the table at the end lists full hashes


def search_report(
    hits: Sequence[Hit],
    gallery: Gallery,
    *,
    parameters: Mapping[str, str],
    gallery_name: str | None = None,
    explain: Callable[[Hit], Explanation] = Hit.why,
    is_right: Callable[[Hit], bool] | None = None,
    summary: str = "",
) -> str:
    """Return an HTML report of the hits of one query image, with maps, hashes and search parameters.

    ``gallery_name`` is shown instead of the gallery's URI, for example to keep a path private;
    ``explain`` replaces ``Hit.why``, ``is_right`` marks hits whose truth is known, and ``summary`` is
    shown first. Hits whose files can't be read are listed in the summary. Raises
    GalleryError if no hit can be shown.
    """
    shown: list[ReportedMatch] = []
    gone: list[str] = []
    for hit in hits:
        try:
            record = f"SHA-256 {hit.record.hash[:_SHORT_HASH]}…"
            right = None if is_right is None else is_right(hit)
            shown.append(ReportedMatch(explain(hit), _remark(hit), record, right, _evidence(hit)))
        except UnreadableImageError:
            gone.append(hit.path.name)
    if not shown:
        raise GalleryError(
            "a report needs at least one hit whose file can be read; search again with fewer limits, "
            "or index the moved files"
        )
    counts = f"{len(gallery):,} images searched; the best {len(hits)} are shown below."
    summary = f"{summary} {counts}".strip()
    if gone:
        summary += f" Not shown, because their files can't be read: {', '.join(gone)}."
    description = gallery.describe()
    facts = {
        **parameters,
        "gallery": f"{gallery_name or description.uri}, {description.n_images:,} images",
        "model": f"{description.model}, fingerprint {description.fingerprint[:_SHORT_HASH]}",
        "method": _method(shown[0].explanation),
        "probabilities": _calibrated(hits, gallery),
        "created": f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z} with lookalike {__version__}",
        **{f"SHA-256 of {hit.path.name}": hit.record.hash for hit in hits},
    }
    title = f"Images similar to {shown[0].explanation.query.name}"
    return pair_report(shown, title=title, facts=facts, summary=summary)


def hits_csv(hits: Sequence[Hit]) -> str:
    """Return CSV text with a header and a row for each hit; metadata as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for hit in hits:
        numbers = hit.to_dict()
        writer.writerow({**numbers, "metadata": json.dumps(numbers["metadata"], ensure_ascii=False)})
    return text.getvalue()


def _method(explanation: Explanation) -> str:
    return explanation.method + (f", {explanation.form}" if explanation.form else "")


def _calibrated(hits: Sequence[Hit], gallery: Gallery) -> str:
    if any(hit.verification is not None for hit in hits):
        return f"by similarity and geometry: {gallery.match_odds.source}"
    if gallery.calibration is None:
        return "none: the gallery is not calibrated"
    if any(hit.probability is None for hit in hits):
        return "none: calibrated for whole images, not for words; re-rank by geometry for parts of them"
    return f"calibrated on {gallery.calibration.source}"


def _evidence(hit: Hit) -> Image.Image | None:
    """The picture of the points that agree; None for a hit that was not verified."""
    return None if hit.verification is None else render.inlier_lines(hit.geometry())


def _remark(hit: Hit) -> str:
    parts = [] if hit.probability is None else [f"probability {hit.probability:z.2f}"]
    if hit.verification is not None:
        parts.append(f"{hit.verification.n_inliers} points agree")
    if hit.rank_before is not None and hit.rank_before != hit.rank:
        parts.append(f"rank {hit.rank_before} before re-ranking")
    parts += [f"{name}: {value}" for name, value in hit.metadata.items()]
    if copies := [Path(copy.path).name for copy in hit.record.copies]:
        more = f" and {len(copies) - 3} more" if len(copies) > 3 else ""
        parts.append(f"exact copies: {', '.join(copies[:3])}{more}")
    return ", ".join(parts)
