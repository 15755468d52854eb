"""``lookalike audit``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import AsJson, GalleryUri, MaxPixels
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress, write_text

if TYPE_CHECKING:
    from lookalike.gallery import Audit


def audit(
    uri: GalleryUri,
    sample: Annotated[int, typer.Option(min=20, help="Number of random pictures that are looked at.")] = 500,
    seed: Annotated[int, typer.Option(help="Seed of the choice of pictures.")] = 0,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with crops and examples.")
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Find what recurs in a collection, such as watermarks.

    Says in which pictures each is, where, and how much of their similarity it carries; search --set-aside
    searches without it. Marks at changing places need the geometry extra.

    Example: lookalike audit -g photos.gallery --report audit.html
    """
    with friendly_errors():
        from lookalike.gallery import Gallery

        opened = Gallery.open(uri)
        with shown_progress() as bar:
            found = opened.audit(sample=sample, seed=seed, progress=bar)
        if report is not None:
            from lookalike.reports.audit import audit_report

            write_text(report, audit_report(found, title=f"What makes {Path(uri).name} match"))
        if as_json:
            print_json({"gallery": uri, **found.to_dict()})
            return
        _print_audit(found, uri)
        if report is not None:
            echo(f"wrote {report}")


def _print_audit(found: Audit, uri: str) -> None:
    rows = [
        (
            each.id,
            each.what,
            each.place,
            f"{len(each.paths)} ({each.part:.0%})",
            f"{each.carried:+z.3f}",
            f"{each.share:z.2%}",
            f"{each.nearest:.0%} -> {each.nearest_aside:.0%} ({each.nearest_chance:.0%})",
        )
        for each in found
    ]
    if rows:
        header = ("", "what", "place", "pictures", "carried", "share", "nearest -> aside (chance)")
        print_table(header, rows)
    echo(found.sentence)
    for remark in found.remarks:
        echo(remark, err=True)
    for path, reason in found.unreadable.items():
        echo(f"not looked at: {path}: {reason}", err=True)
    if rows and found[0].nearest_aside < found[0].nearest:
        echo(f"search without the first: lookalike search QUERY -g {uri} --set-aside {found[0].id}")
    elif rows:
        echo("setting the first aside would not make its pictures each other's nearest less often")
