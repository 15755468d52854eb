"""Geometric evidence and regions of a photograph on the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from lookalike.cli.printing import echo, one_line, print_json, print_table, shown_progress, write_text

if TYPE_CHECKING:
    from lookalike.gallery import Gallery, RegionHit
    from lookalike.types import Verification


def inliers_in_words(found: Verification) -> str:
    """Return the number of inliers, and what is special about them."""
    known = (("mirrored", found.mirrored), ("cells", found.source == "cells"))
    remarks = [word for word, holds in known if holds]
    return f"{found.n_inliers}" + (f" ({', '.join(remarks)})" if remarks and found.n_inliers else "")


def correction_in_words(correction: str) -> str:
    """What the scores of a correction for hubs are, and what a map explains of them."""
    if correction == "csls":
        return (
            "scores are twice the similarity, less how near the query and the image each are to everything "
            "(CSLS): maps explain the similarity, and no cell carries what is taken off"
        )
    return (
        "scores are cosines of both embeddings less the mean of the gallery: maps explain the similarity, "
        "and with --contrast what is left of it without the mean"
    )


def check_alone(queries: Sequence[str], others: Mapping[str, object]) -> None:
    """Raise BadParameter for several images, and for options that --regions excludes."""
    if len(queries) > 1:
        raise typer.BadParameter("takes one image", param_hint="--regions")
    if others:
        raise typer.BadParameter(f"can't be combined with {next(iter(others))}", param_hint="--regions")


def print_regions(
    gallery: Gallery,
    query: str,
    boxes: Sequence[tuple[float, float, float, float] | None] | None,
    shortlist: int | None,
    where: str | None,
    leave_self_out: bool,
    report: Path | None,
    as_json: bool,
) -> None:
    """Search by the regions of an image, print what each shows, and write a report if one is asked for."""
    chosen = None if boxes is None else [box for box in boxes if box is not None]
    limits = {} if shortlist is None else {"shortlist": shortlist}
    with shown_progress() as bar:
        found = gallery.search_regions(
            query, boxes=chosen, where=where, leave_self_out=leave_self_out, progress=bar, **limits
        )
    if report is not None:
        from lookalike.reports.regions import regions_report

        write_text(report, regions_report(found, gallery, query=query))
    if as_json:
        print_json({"query": query, "gallery": gallery.uri, **found.to_dict()})
        return
    n = len(found.matches)
    what = "no image" if n == 0 else f"{n} image{'s' if n > 1 else ''}"
    echo(
        f"{what} of the gallery {'are' if n > 1 else 'is'} on this photograph "
        f"({found.n_searched} regions searched)"
    )
    if found.matches:
        header = ("", "box", "similarity", "inliers", "probability", "path")
        print_table(header, [_row(number, each) for number, each in enumerate(found.matches, start=1)])
    unsure = len(found) - n
    if unsure:
        best = max((each.hit.probability or 0.0) for each in found if not each.is_match)
        more = f"{unsure} more region{'s' if unsure > 1 else ''}"
        echo(f"{more} without a certain match (probability {best:z.2f} at most); --json lists them")
    if report is not None:
        echo(f"wrote {report}")


def _row(number: int, found: RegionHit) -> tuple[str, ...]:
    hit = found.hit
    assert hit.verification is not None
    return (
        str(number),
        ",".join(f"{side:.0f}" for side in found.box),
        f"{hit.similarity:z.4f}",
        inliers_in_words(hit.verification),
        "" if hit.probability is None else f"{hit.probability:z.2f}",
        one_line(hit.record.path) + "".join(f"\nor {one_line(other.path)}" for other in found.others),
    )
