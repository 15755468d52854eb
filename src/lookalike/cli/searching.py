"""``lookalike search``: its options; what it does is in ``search_run``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.options import AsJson, GalleryUri, MaxPixels
from lookalike.cli.printing import friendly_errors
from lookalike.cli.search_run import SearchRun
from lookalike.cli.tables import ENDINGS


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
    run = SearchRun(
        uri=uri, queries=queries or [], text=text, weight=weight, unlike=unlike or [], each=each, k=k,
        box=box, polygon=polygon, regions=regions, rerank=rerank, shortlist=shortlist, where=where,
        min_similarity=min_similarity, leave_self_out=leave_self_out, correct=correct,
        set_aside=set_aside or [], report=report, contrast=contrast, csv=csv, case=case, as_json=as_json,
    )  # fmt: skip
    run.check()
    with friendly_errors():
        run()
