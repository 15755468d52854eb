"""A search for somebody else: one HTML file with the reasons, or a CSV with the numbers."""

from __future__ import annotations

import csv
import datetime
import io
import json
from collections.abc import Callable, Mapping, Sequence

from lookalike import __version__
from lookalike.errors import GalleryError, UnreadableImageError
from lookalike.gallery import Gallery, Hit
from lookalike.reports.page import ReportedMatch, pair_report
from lookalike.types import Explanation

_COLUMNS = ("rank", "path", "similarity", "probability", "score", "rank_before", "id", "sha256", "metadata")
_SHORT_HASH = 16  # digits shown beside a picture; the file list has all of them


def search_report(
    hits: Sequence[Hit],
    gallery: Gallery,
    *,
    parameters: Mapping[str, str],
    gallery_name: str | None = None,
    explain: Callable[[Hit], Explanation] = Hit.why,
) -> str:
    """The hits of one query image with their maps, hashes and what was asked, as HTML.

    ``gallery_name`` stands for the gallery's URI where that is nobody's business, and ``explain``
    replaces ``Hit.why``. Pictures whose files are gone are named in the summary. Raises GalleryError
    where none is left.
    """
    shown: list[ReportedMatch] = []
    gone: list[str] = []
    for hit in hits:
        try:
            shown.append(ReportedMatch(explain(hit), _remark(hit)))
        except UnreadableImageError:
            gone.append(hit.path.name)
    if not shown:
        raise GalleryError("there is nothing to report: no hit, or none whose file is still there")
    summary = f"{len(gallery):,} pictures were searched; the best {len(hits)} are below."
    if gone:
        summary += f" Not shown, because their files can't be read: {', '.join(gone)}."
    description = gallery.describe()
    facts = {
        **parameters,
        "gallery": f"{gallery_name or description.uri}, {description.n_images:,} pictures",
        "model": f"{description.model}, fingerprint {description.fingerprint[:_SHORT_HASH]}",
        "method": shown[0].explanation.method,
        "probabilities": _calibrated(hits, gallery),
        "made": f"{datetime.datetime.now().astimezone():%Y-%m-%d %H:%M %Z} with lookalike {__version__}",
        **{f"SHA-256 of {hit.path.name}": hit.record.hash for hit in hits},
    }
    title = f"What is similar to {shown[0].explanation.query.name}?"
    return pair_report(shown, title=title, facts=facts, summary=summary)


def hits_csv(hits: Sequence[Hit]) -> str:
    """One line for each hit; metadata as JSON."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    for hit in hits:
        numbers = hit.to_dict()
        writer.writerow({**numbers, "metadata": json.dumps(numbers["metadata"], ensure_ascii=False)})
    return text.getvalue()


def _calibrated(hits: Sequence[Hit], gallery: Gallery) -> str:
    if gallery.calibration is None:
        return "none: the gallery is not calibrated"
    if any(hit.probability is None for hit in hits):
        return "none: they are calibrated for whole pictures, not for parts"
    return f"calibrated on {gallery.calibration.source}"


def _remark(hit: Hit) -> str:
    parts = [] if hit.probability is None else [f"probability {hit.probability:.2f}"]
    if hit.rank_before is not None and hit.rank_before != hit.rank:
        parts.append(f"rank {hit.rank_before} before re-ranking")
    parts += [f"{name}: {value}" for name, value in hit.metadata.items()]
    return ", ".join([*parts, f"SHA-256 {hit.record.hash[:_SHORT_HASH]}…"])
