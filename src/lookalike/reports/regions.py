"""Report of what a photograph shows: its regions drawn on it, and the evidence for each."""

from __future__ import annotations

import datetime

from lookalike import __version__, render
from lookalike.errors import UnreadableImageError
from lookalike.gallery import Gallery, RegionHit, RegionsResult
from lookalike.reports.page import data_uri, page


def regions_report(found: RegionsResult, gallery: Gallery, *, query: str) -> str:
    """Return an HTML report: the photograph with the outlines of what was found, and each match's evidence.

    Matches whose files can't be read any more are listed without a picture.
    """
    numbered = list(enumerate(found.matches, start=1))
    marks = [(each.outline, f"{number} {each.hit.path.name}") for number, each in numbered]
    description = gallery.describe()
    unsure, now = len(found) - len(numbered), datetime.datetime.now().astimezone()
    return page(
        "regions.html",
        title=f"What is on {found.picture.name}",
        photo=data_uri(render.outlined(found.picture, marks)),
        rows=[_region_row(number, each) for number, each in numbered],
        n_unsure=unsure,
        facts={
            "query": query,
            "gallery": f"{description.uri}, {description.n_images:,} images",
            "model": f"{description.model}, fingerprint {description.fingerprint[:16]}",
            "regions searched": str(found.n_searched),
            "probabilities": f"by similarity and geometry: {gallery.match_odds.source}",
            "created": f"{now:%Y-%m-%d %H:%M %Z} with lookalike {__version__}",
            **{f"SHA-256 of {each.hit.path.name}": each.hit.record.hash for _, each in numbered},
        },
    )


def _region_row(number: int, found: RegionHit) -> dict[str, object]:
    hit = found.hit
    try:
        picture = data_uri(render.inlier_lines(hit.geometry()))
    except UnreadableImageError:
        picture = ""
    return {
        "number": number,
        "name": hit.path.name,
        "box": ", ".join(f"{side:.0f}" for side in found.box),
        "probability": f"{hit.probability or 0:z.2f}",
        "inliers": hit.verification.n_inliers if hit.verification else 0,
        "similarity": f"{hit.similarity:z.3f}",
        "metadata": ", ".join(f"{name}: {value}" for name, value in hit.metadata.items()),
        "others": ", ".join(other.path.name for other in found.others),
        "picture": picture,
    }
