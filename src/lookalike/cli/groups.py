"""``lookalike groups`` and ``lookalike same``: duplicates in a collection, and a question about two files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import AsJson, GalleryUri, MaxPixels, keep_inputs
from lookalike.cli.printing import (
    echo,
    friendly_errors,
    keep_picture,
    one_line,
    print_json,
    print_table,
    shown_progress,
    write_text,
)
from lookalike.cli.tables import ENDINGS, write_rows

if TYPE_CHECKING:
    from lookalike.gallery.groups import Groups

_NOT_SAME = 3  # 1 is an error, 2 wrong usage


def groups(
    uri: GalleryUri,
    other: Annotated[
        str | None, typer.Option(metavar="GALLERY", help="Another gallery: what of the first is in it.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option(help="copy, near-duplicate or same; can be repeated. By default all three."),
    ] = None,
    precision: Annotated[
        float | None,
        typer.Option(help="Share of right links to be expected among pictures of the same thing, e.g. 0.95."),
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Cosine from which pictures count as the same thing.")
    ] = None,
    neighbors: Annotated[
        int, typer.Option(min=1, help="Number of nearest pictures each picture is compared with.")
    ] = 10,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", "--out", metavar="FILE", help=f"Write the groups as a table: {ENDINGS}."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a page with the pictures of each group.")
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Group copies, near-duplicates and the same things.

    Every link says why: how similar, what was changed, and by which transformation. Files to keep and to drop
    are suggested; nothing is deleted. Near-duplicates need the geometry extra.

    Example: lookalike groups -g photos.gallery --csv duplicates.csv
    """
    with friendly_errors():
        from lookalike.gallery import Gallery
        from lookalike.gallery.links import GROUP_KINDS

        keep_inputs([], csv, report)
        for path in (csv, report):
            keep_picture(path)  # before the minutes that it takes
        opened = Gallery.open(uri)
        with shown_progress() as bar:
            found = opened.groups(
                other=None if other is None else Gallery.open(other),
                kinds=tuple(kind) if kind else GROUP_KINDS,
                precision=precision,
                min_similarity=min_similarity,
                neighbors=neighbors,
                progress=bar,
            )
        if csv is not None:
            write_rows(csv, found.rows(), found.to_csv)
        if report is not None:
            from lookalike.reports.groups import groups_report

            write_text(report, groups_report(found, title=f"Groups of {Path(uri).name}"))
        if as_json:
            print_json({"gallery": uri, "other": other, **found.to_dict()})
            return
        _print_groups(found)
        for path in (csv, report):
            if path is not None:
                echo(f"wrote {path}")


def _print_groups(found: Groups) -> None:
    rows = []
    for number, group in enumerate(found, start=1):
        advice = {each.path: each for each in group.advice}
        for place, path in enumerate(group.paths):
            given = advice.get(path)
            words = "" if given is None else ("keep: " if given.keep else "drop: ") + given.reason
            rows.append(
                (*((str(number), group.kind) if not place else ("", "")), one_line(path), one_line(words))
            )
    if rows:
        print_table(("", "kind", "path", "advice"), rows)
    counts = {kind: sum(group.kind == kind for group in found) for kind in ("copy", "near-duplicate", "same")}
    echo(
        f"{counts['copy']} groups of exact copies, {counts['near-duplicate']} of near-duplicates, "
        f"{counts['same']} of the same thing"
    )
    if found.threshold is not None:
        echo(f"the same thing: similarity {found.threshold:z.3f} or more")
    if found.remark:
        echo(found.remark, err=True)
    for path, reason in found.unreadable.items():
        echo(f"not compared: {path}: {reason}", err=True)


def same(
    first: Annotated[str, typer.Argument(metavar="A", help="Image file.")],
    second: Annotated[str, typer.Argument(metavar="B", help="Image file.")],
    uri: Annotated[
        str | None,
        typer.Option(
            "--gallery", "-g", metavar="GALLERY", help="Calibrated gallery: asks for the same thing, too."
        ),
    ] = None,
    model: Annotated[str, typer.Option(help="Model of the similarity without a gallery.")] = "mini",
    probability: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Least probability of the same thing.")
    ] = 0.5,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE.png", help="Write the map of both.")
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Say whether two files show the same.

    Exit code 0: the same (identical files, near-duplicates, or, with a calibrated gallery, the same thing);
    3: not the same; 1: an error; 2: wrong usage. Without a gallery the question is whether both are one
    picture.

    Example: lookalike same a.jpg b.jpg && echo duplicate
    """
    with friendly_errors():
        from lookalike.gallery import Gallery
        from lookalike.gallery.sameness import compare_files
        from lookalike.models.embedder import Embedder
        from lookalike.reports.explanation_files import Outputs, check_picture_name, write_outputs

        keep_inputs([first, second], output)
        if output is not None:
            check_picture_name(output)
        gallery = None if uri is None else Gallery.open(uri)
        embedder = Embedder.load(model) if gallery is None else gallery.embedder
        curve = None if gallery is None else gallery.calibration
        answer = compare_files(first, second, embedder, curve, least_probability=probability)
        if output is not None:
            write_outputs(answer.why(), embedder, Outputs(output))
        if as_json:
            print_json({"first": first, "second": second, **answer.to_dict()})
        else:
            echo(answer.sentence)
            if output is not None:
                echo(f"wrote {output}")
    if not answer.is_same:
        raise typer.Exit(_NOT_SAME)
