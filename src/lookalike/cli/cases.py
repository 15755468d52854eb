"""``lookalike case``: what was decided about the hits of searches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lookalike.errors as errors
from lookalike.cli.options import AsJson
from lookalike.cli.printing import echo, friendly_errors, one_line, print_json, print_table, write_text

if TYPE_CHECKING:
    from lookalike.gallery import CaseFile, CasePair, Gallery, SearchResult
    from lookalike.gallery.regions import Box, Polygon

case = typer.Typer(
    help="Show, decide, export and import cases.",
    no_args_is_help=True,
)

CaseGallery = Annotated[
    str, typer.Option("--gallery", "-g", metavar="GALLERY", help="Folder of the gallery.")
]
CaseName = Annotated[str, typer.Argument(metavar="NAME", help="Name of the case.")]
Who = Annotated[
    str | None, typer.Option("--who", envvar="LOOKALIKE_WHO", help="Your name, to be kept with it.")
]


@case.command("list")
def list_cases(uri: CaseGallery, as_json: AsJson = False) -> None:
    """List the cases of a gallery.

    Example: lookalike case list -g photos.gallery
    """
    with friendly_errors():
        from lookalike.gallery import Gallery

        opened = Gallery.open(uri)
        rows, damaged = [], {}
        for name in opened.cases():
            try:
                rows.append(_summary(opened.case(name)))
            except errors.GalleryError as error:  # which harms none of the others
                damaged[name] = str(error)
        if as_json:
            print_json({"cases": rows, "damaged": damaged})
        else:
            print_table(
                ("case", "pairs", "undecided", "begun"),
                [(r["name"], f"{r['pairs']:,}", f"{r['undecided']:,}", r["created"]) for r in rows],
            )
        for reason in damaged.values():
            echo(f"left out: {reason}", err=True)


@case.command()
def show(
    name: CaseName,
    uri: CaseGallery,
    verdict: Annotated[
        str | None, typer.Option(help="Only these: same, different, unsure or undecided.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print the pairs of a case and what was decided about them.

    Example: lookalike case show wall -g photos.gallery --verdict undecided
    """
    with friendly_errors():
        from lookalike.gallery.cases.exchange import case_values

        opened = _case(uri, name)[1]
        pairs = opened.decisions(verdict)
        if as_json:
            print_json(case_values(opened, pairs))
        else:
            _print_pairs(pairs)


@case.command()
def decide(
    name: CaseName,
    pair: Annotated[str, typer.Argument(metavar="PAIR", help="Id of a pair, as `case show` prints it.")],
    uri: CaseGallery,
    verdict: Annotated[
        str | None, typer.Argument(metavar="[VERDICT]", help="same, different, unsure or undecided.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="A note; replaces the one before.")] = None,
    tags: Annotated[
        list[str] | None, typer.Option("--tag", help="A tag; can be repeated. Replaces those before.")
    ] = None,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Decide about a pair of a case.

    Example: lookalike case decide wall 2727ae0570c2cdce same -g photos.gallery --note "same frame"
    """
    with friendly_errors():
        decided = _case(uri, name)[1].decide(pair, verdict, note=note, tags=tags, who=who or "")
        _say(decided, as_json)


@case.command()
def undo(name: CaseName, uri: CaseGallery, who: Who = None, as_json: AsJson = False) -> None:
    """Take back the last decision of a case, or the last one by --who.

    Example: lookalike case undo wall -g photos.gallery
    """
    with friendly_errors():
        _say(_case(uri, name)[1].undo(who), as_json)


@case.command()
def export(
    name: CaseName,
    uri: CaseGallery,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a report to hand over; the browser prints it as PDF."),
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--to", metavar="FILE.json", help="Write all decisions, to be imported.")
    ] = None,
    labeled: Annotated[
        Path | None,
        typer.Option(
            "--pairs", metavar="FOLDER", help="Write pairs.csv and labels.csv, to calibrate and train with."
        ),
    ] = None,
    most: Annotated[int, typer.Option(min=1, help="Decided pairs with pictures in the report.")] = 60,
) -> None:
    """Hand over a case: as a report, as JSON, or as labeled pairs.

    Example: lookalike case export wall -g photos.gallery --report wall.html
    """
    if report is None and json_file is None and labeled is None:
        raise typer.BadParameter("give --report FILE.html, --to FILE.json or --pairs FOLDER")
    with friendly_errors():
        import json

        from lookalike.gallery.cases.exchange import case_values
        from lookalike.gallery.cases.labeled import write_labeled
        from lookalike.reports.case import case_report

        gallery, opened = _case(uri, name)
        if report is not None:
            write_text(report, case_report(opened, gallery, most=most))
            echo(f"wrote {report}")
        if json_file is not None:
            write_text(json_file, json.dumps(case_values(opened), indent=2, ensure_ascii=False))
            echo(f"wrote {json_file}")
        if labeled is not None:
            made = write_labeled(opened, labeled)
            echo(f"wrote {made.pairs}: {made.n_pairs:,} pairs; {made.labels}: {made.n_labels:,} pictures")
            for each in made.unreadable:
                echo(f"left out: {each}", err=True)


@case.command("import")
def import_decisions(
    name: CaseName,
    file: Annotated[Path, typer.Argument(metavar="FILE.json", help="An exported case.")],
    uri: CaseGallery,
    who: Who = None,
    as_json: AsJson = False,
) -> None:
    """Add the decisions of an exported case; what is the same already is left out.

    Example: lookalike case import wall colleague.json -g photos.gallery
    """
    with friendly_errors():
        from lookalike.gallery import Gallery, read_case

        pairs = read_case(file)
        changed = Gallery.open(uri).case(name).import_decisions(pairs, who=who or "")
        if as_json:
            print_json({"pairs": len(pairs), "changed": changed})
        else:
            echo(f"read {len(pairs):,} pairs; {changed:,} of them are new or changed here")


def examples_in(
    opened: Gallery,
    name: str | None,
    queries: list[str],
    box: Box | None,
    polygon: Polygon | None,
) -> dict[str, list[str]]:
    """Return what a case says about a query, as the examples of a search: ids liked and disliked."""
    from lookalike.gallery.query import query_id

    if name is None:
        return {"liked": [], "disliked": []}
    if len(queries) > 1:
        raise typer.BadParameter("a case takes one picture as query", param_hint="--case")
    id = query_id(queries[0])  # before the case is begun: there may be no such file
    found = opened.case(name).examples(id, box, polygon)
    liked, disliked = (len(ids) for ids in found.values())
    if liked or disliked:
        said = f"{liked} the same, {disliked} different"
        echo(f"searching with what was decided in the case {name!r}: {said}", err=True)
    return found


def add_to_case(hits: SearchResult, case: CaseFile, query: str, parameters: dict[str, Any]) -> None:
    """Add the hits of a search by a file or a record's id to a case, and say so."""
    source = None if hits.query.record is not None else query
    given = {name: value for name, value in parameters.items() if value is not None}
    pairs = case.add(hits, source, parameters=given)
    n = sum(pair.verdict is None for pair in pairs)
    echo(f"{len(pairs)} pairs in the case {case.name!r}, {n} of them undecided", err=True)


def _case(uri: str, name: str) -> tuple[Gallery, CaseFile]:
    """A gallery and a case of it that exists."""
    from lookalike.gallery import Gallery

    opened = Gallery.open(uri)
    return opened, existing_case(opened, name)


def existing_case(opened: Gallery, name: str) -> CaseFile:
    """Return the case with this name. Raises GalleryError unless the gallery has it."""
    names = opened.cases()
    if name not in names:
        known = f"it has {', '.join(names)}" if names else "it has none"
        raise errors.GalleryError(
            f"the gallery has no case {name!r}: {known}; `lookalike search --case NAME` begins one"
        )
    return opened.case(name)


def _summary(opened: CaseFile) -> dict[str, Any]:
    pairs = opened.decisions()
    undecided = sum(pair.verdict is None for pair in pairs)
    return {
        "name": opened.name,
        "pairs": len(pairs),
        "undecided": undecided,
        "created": opened.created,
    }


def _print_pairs(pairs: list[CasePair]) -> None:
    print_table(
        ("pair", "verdict", "similarity", "query", "found", "who", "note"),
        [
            (
                pair.id,
                pair.verdict or "undecided",
                f"{pair.similarity:z.4f}",
                one_line(pair.query.name) + (" (region)" if pair.region else ""),
                one_line(pair.hit.name),
                one_line(pair.who),
                " ".join([pair.note, *(f"#{tag}" for tag in pair.tags)]).strip(),
            )
            for pair in pairs
        ],
    )


def _say(pair: CasePair, as_json: bool) -> None:
    if as_json:
        print_json(pair.to_dict())
    else:
        echo(f"{pair.query.name} and {pair.hit.name}: {pair.verdict or 'undecided'}")


__all__ = ["add_to_case", "case", "examples_in", "existing_case"]
