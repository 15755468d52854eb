"""``lookalike search``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli.cases import add_to_case, examples_in
from lookalike.cli.many_queries import search_queries
from lookalike.cli.options import AsJson, GalleryUri, MaxPixels, keep_inputs
from lookalike.cli.printing import echo, friendly_errors, one_line, print_json, print_table, write_text
from lookalike.cli.tables import ENDINGS, write_rows
from lookalike.cli.verified import check_alone, correction_in_words, inliers_in_words, print_regions

if TYPE_CHECKING:
    from lookalike.gallery import Hit
    from lookalike.types import Explanation


def search(
    uri: GalleryUri,
    queries: Annotated[
        list[str] | None,
        typer.Argument(metavar="IMAGE...", help="Image file, several of them as one query, or a record id."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(
            metavar="WORDS",
            help="Search by words, alone or with an image; for galleries of an image-text model.",
        ),
    ] = None,
    weight: Annotated[
        float, typer.Option(help="With an image and --text: the weight of the text, between 0 and 1.")
    ] = 0.5,
    unlike: Annotated[
        list[str] | None,
        typer.Option("--not", metavar="IMAGE|WORDS", help="What hits should not look like; can be repeated."),
    ] = None,
    each: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER|LIST",
            help="Search for each image of a folder, or of a text file with one on each line, by itself; "
            "needs --csv. Repeated after an interruption, it goes on.",
        ),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    box: Annotated[
        str | None,
        typer.Option(
            metavar="L,T,R,B", help="Search by this box of the image: left, top, right, bottom in pixels."
        ),
    ] = None,
    polygon: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,X,Y,...", help="Search by the region inside this polygon; corners in pixels."
        ),
    ] = None,
    regions: Annotated[
        str | None,
        typer.Option(
            metavar="auto|L,T,R,B/...",
            help="Search by each region of the image and verify by geometry: auto proposes them, or give "
            "boxes joined by /. Says what is on the photograph, and where.",
        ),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(
            help="Re-ranker: aqe, dba, k-reciprocal, diffusion, superglobal, csa, shares, transport, avsl or "
            "geometry (is it the same thing? by points that agree); join several with +. By default none, "
            "but avsl for one whole image in a gallery of an AVSL model; none leaves it out."
        ),
    ] = None,
    shortlist: Annotated[
        int | None,
        typer.Option(min=1, help="Number of top hits to re-rank: 200, or 50 for each region, by default."),
    ] = None,
    where: Annotated[
        str | None,
        typer.Option(metavar="FILTER", help="Metadata filter, such as \"label == 'cat' and year >= 2019\"."),
    ] = None,
    min_similarity: Annotated[
        float | None, typer.Option(help="Leave out hits with a lower cosine similarity.")
    ] = None,
    leave_self_out: Annotated[
        bool, typer.Option("--leave-self-out", help="Leave out images with the same content as the query.")
    ] = False,
    correct: Annotated[
        str | None,
        typer.Option(
            metavar="csls|center",
            help="Correct scores for images that turn up for everything.",
        ),
    ] = None,
    set_aside: Annotated[
        list[str] | None,
        typer.Option(metavar="ID", help="Search without what the last audit found; can be repeated."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report with hits, maps and file hashes.")
    ] = None,
    contrast: Annotated[
        bool,
        typer.Option(
            "--contrast", help="In the report, draw what a hit shares beyond what all pictures share."
        ),
    ] = False,
    csv: Annotated[
        Path | None,
        typer.Option("--csv", "--out", metavar="FILE", help=f"Write the hits as a table: {ENDINGS}."),
    ] = None,
    case: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Add the hits to this case of the gallery, and search with what was decided there about the "
            "same query or region.",
        ),
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Find the most similar images in a gallery.

    Example: lookalike search query.jpg -g photos.gallery --box 40,30,200,180 --report hits.html
    """
    if each is not None and (queries or box or polygon or contrast or case or regions):
        raise typer.BadParameter(
            "searches for whole images by themselves; leave IMAGE, --box, --polygon, --regions, --contrast "
            "and --case out",
            param_hint="--each",
        )
    if each is not None and csv is None:
        raise typer.BadParameter("needs a table to write; add --csv out.csv", param_hint="--each")
    if each is None and not queries and text is None:
        raise typer.BadParameter("give an image to search for, --text WORDS, or --each FOLDER")
    queries = queries or []
    if case is not None and not queries:
        raise typer.BadParameter("needs an image: a case holds pairs of pictures", param_hint="--case")
    if regions is not None and not queries:
        raise typer.BadParameter("needs an image", param_hint="--regions")
    if contrast and report is None:
        raise typer.BadParameter(
            "changes the maps of a report; add --report hits.html", param_hint="--contrast"
        )
    with friendly_errors():
        from lookalike.gallery import Gallery

        keep_inputs(queries, report, csv)
        opened = Gallery.open(uri)
        if set_aside:
            if case is not None:
                raise typer.BadParameter(
                    "a case holds similarities of the gallery as it is; leave --case out",
                    param_hint="--set-aside",
                )
            opened = opened.without(set_aside)
        in_words = text is not None or bool(unlike)
        if regions is not None:
            given = {"--box": box, "--polygon": polygon, "--rerank": rerank, "--csv": csv, "--case": case}
            given |= {"--text": text, "--not": ", ".join(unlike or ())}
            check_alone(queries, {name: value for name, value in given.items() if value})
            chosen = None if regions == "auto" else [_box(text) for text in regions.split("/")]
            print_regions(opened, queries[0], chosen, shortlist, where, leave_self_out, report, as_json)
            return
        shortlist = shortlist or 200
        options: dict[str, Any] = {
            "k": k, "rerank": rerank, "shortlist": shortlist, "where": where,
            "min_similarity": min_similarity, "leave_self_out": leave_self_out,
            "text": text, "unlike": unlike or (), "weight": weight, "correct": correct,
        }  # fmt: skip
        if each is not None and csv is not None:
            search_queries(opened, each, csv, report=report, options=options, as_json=as_json)
            return
        examples = examples_in(opened, case, queries, _box(box), _corners(polygon))
        hits = opened.search(
            queries[0] if len(queries) == 1 else queries or None,
            box=_box(box),
            polygon=_corners(polygon),
            liked=examples["liked"],
            disliked=examples["disliked"],
            **options,
        )
        if case is not None:
            recorded = ("k", "rerank", "where", "min_similarity", "text", "unlike", "correct")
            settings = {name: options[name] for name in recorded if options[name]}
            add_to_case(hits, opened.case(case), queries[0], settings | {"examples": examples})
        if csv is not None:  # before the report, which takes long and may fail
            from lookalike.reports.search import hits_csv

            write_rows(csv, hits, lambda: hits_csv(hits))
        if report is not None:
            from lookalike.reports.search import search_report

            reranked = hits.rerank and f"{hits.rerank}, the first {shortlist}"
            parameters = {"query": ", ".join(queries), "words": text, "not": ", ".join(unlike or ())}
            parameters |= {"k": str(k), "box": box, "polygon": polygon}
            parameters |= {"set aside": ", ".join(set_aside or ())}
            parameters |= {"corrected by": correct, "filter": where, "re-ranked by": reranked}
            parameters["maps"] = "beyond what all pictures of the gallery share" if contrast else None
            facts = {name: value for name, value in parameters.items() if value}
            write_text(report, search_report(hits, opened, parameters=facts, explain=_explainer(contrast)))
        if as_json:
            asked = {"query": queries, "text": text, "unlike": unlike or [], "set_aside": set_aside or []}
            print_json({**asked, "gallery": uri, "good_match": _is_good(hits), **hits.to_dict()})
        else:
            by_distance = hits.rerank == "avsl"
            written = [path for path in (report, csv) if path is not None]
            _print_hits(hits, written, with_scores=by_distance or bool(correct))
            if set_aside:
                echo(f"set aside in the query and in all images: {', '.join(set_aside)} of the last audit")
            if correct:
                echo(correction_in_words(correct))
            if by_distance:
                echo("ranked by AVSL's inferred distance: a score is one minus half of it")
            behind = "behind those that can be read" if by_distance else "as if none of its cells matched"
            for path, reason in hits.unreadable.items():
                echo(f"ranked {behind}: {path}: {reason}", err=True)
            if in_words and text is not None:
                echo("similarities with words are lower than between images; only their order counts")
            if opened.calibration is not None and in_words:
                echo("no probabilities: they are calibrated for images, not for words")
            if opened.calibration is not None and (box or polygon) and not any(h.verification for h in hits):
                echo(
                    "no probabilities: they are calibrated for whole images, not for regions; "
                    "--rerank geometry gives them"
                )


def _explainer(contrast: bool) -> Callable[[Hit], Explanation]:
    return lambda hit: hit.why(contrast="gallery") if contrast else hit.why()


def _is_good(hits: Sequence[Hit]) -> bool | None:
    """Whether some hit is a match with probability 0.5 or more; None without probabilities."""
    if any(hit.probability is None for hit in hits):
        return None
    return any((hit.probability or 0) >= 0.5 for hit in hits)


def _print_hits(hits: Sequence[Hit], written: list[Path], *, with_scores: bool = False) -> None:
    if _is_good(hits) is False:
        echo("no good match" + (": every hit below has a probability under 0.5" if hits else ""))
    header = ("", "similarity", "score", "probability", "inliers", "before", "path")
    rows = [
        (
            str(hit.rank),
            f"{hit.similarity:z.4f}",
            f"{hit.score:z.4f}" if with_scores else "",
            "" if hit.probability is None else f"{hit.probability:z.2f}",
            "" if hit.verification is None else inliers_in_words(hit.verification),
            "" if hit.rank_before in (None, hit.rank) else str(hit.rank_before),
            one_line(hit.path) + "".join(f"\n= {one_line(copy.path)}" for copy in hit.record.copies),
        )
        for hit in hits
    ]
    used = [i for i in range(len(header)) if i in (0, 1, 6) or any(row[i] for row in rows)]
    print_table(tuple(header[i] for i in used), [tuple(row[i] for i in used) for row in rows])
    for path in written:
        echo(f"wrote {path}")


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    numbers = _numbers(text, "--box takes four numbers: left,top,right,bottom")
    if len(numbers) != 4:
        raise typer.BadParameter(f"--box takes four numbers: left,top,right,bottom; got {text!r}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _corners(text: str | None) -> list[tuple[float, float]] | None:
    if text is None:
        return None
    numbers = _numbers(text, "--polygon takes x,y of each corner")
    if len(numbers) % 2:
        raise typer.BadParameter(
            f"--polygon takes x,y of each corner, an even count of numbers; got {len(numbers)}"
        )
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _numbers(text: str, expected: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(" ", ",").split(",") if part]
    except ValueError as error:
        raise typer.BadParameter(f"{expected}; got {text!r}") from error
