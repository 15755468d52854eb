"""Commands on galleries: index, search, and looking after one."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli.options import AsJson
from lookalike.cli.printing import friendly_errors, print_json, print_table, shown_progress, write_text

if TYPE_CHECKING:
    from lookalike.gallery import AddReport, Gallery, Hit

commands = typer.Typer()
upkeep = typer.Typer(help="Describe, prune, speed up and calibrate a gallery.", no_args_is_help=True)

GalleryUri = Annotated[
    str, typer.Option("--gallery", "-g", metavar="GALLERY", help="Folder of the gallery, or an s3:// URI.")
]


@commands.command()
def index(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, help="Folder of images, searched recursively.")
    ],
    uri: GalleryUri,
    model: Annotated[
        str | None, typer.Option(help="For a new gallery: mini, any timm name, a saved folder.")
    ] = None,
    labels_from_folders: Annotated[
        bool,
        typer.Option("--labels-from-folders", help="Use the folder of each file as metadata field label."),
    ] = False,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="CSV or Parquet table with a column path; the others become metadata."
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Skip files and folders that match; may be repeated."),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Forget files that vanished from DIR.")] = False,
    keep_shares: Annotated[
        bool,
        typer.Option(
            "--keep-shares", help="For a new gallery: store shares as well (up to 2 N D bytes each)."
        ),
    ] = False,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes that decode images.")] = None,
    as_json: AsJson = False,
) -> None:
    """Index a folder of images into a gallery, or update it.

    Only what is new is embedded. Files that can't be read are listed; they don't change the exit code.

    Example: lookalike index photos/ -g photos.gallery
    """
    with friendly_errors():
        from lookalike.gallery import Gallery, combined_metadata

        gallery = Gallery.open_or_create(uri, model, keep_shares=keep_shares)
        values = combined_metadata(folders=source if labels_from_folders else None, table=metadata)
        with shown_progress() as bar:
            report = gallery.add(
                source, metadata=values, ignore=ignore or (), prune=prune, workers=workers, progress=bar
            )
        if as_json:
            print_json({**dataclasses.asdict(report), "images": len(gallery), "gallery": uri})
        else:
            _print_report(report, len(gallery))


def _print_report(report: AddReport, n_images: int) -> None:
    typer.echo(f"added {report.added:,}, known {report.known:,}; the gallery has {n_images:,} pictures")
    for path, reason in report.unreadable:
        typer.echo(f"unreadable: {path}: {reason}", err=True)
    if report.vanished and report.pruned:
        typer.echo(f"forgot {len(report.vanished):,} files that vanished, {report.pruned:,} pictures")
    elif report.vanished:
        typer.echo(f"{len(report.vanished):,} files vanished; --prune forgets them")


@commands.command()
def search(
    queries: Annotated[
        list[str], typer.Argument(metavar="IMAGE...", help="One image, several as one query, or an id.")
    ],
    uri: GalleryUri,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of hits.")] = 10,
    box: Annotated[
        str | None, typer.Option(metavar="L,T,R,B", help="Search by this box of the image, in pixels.")
    ] = None,
    polygon: Annotated[
        str | None,
        typer.Option(metavar="X,Y,X,Y,...", help="Search by the inside of this polygon, in pixels."),
    ] = None,
    rerank: Annotated[
        str | None,
        typer.Option(help="aqe, dba, k-reciprocal, diffusion, csa, shares, avsl, or several joined by +."),
    ] = None,
    shortlist: Annotated[int, typer.Option(min=1, help="Number of hits that are re-ranked.")] = 200,
    where: Annotated[
        str | None, typer.Option(metavar="FILTER", help="Such as \"label == 'cat' and year >= 2019\".")
    ] = None,
    min_similarity: Annotated[float | None, typer.Option(help="Leave out hits below this cosine.")] = None,
    leave_self_out: Annotated[
        bool, typer.Option("--leave-self-out", help="Leave out the query's own content.")
    ] = False,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write one file with hits, maps and hashes.")
    ] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the hits as a table.")] = None,
    as_json: AsJson = False,
) -> None:
    """Find the pictures of a gallery most similar to an image.

    Example: lookalike search query.jpg -g photos.gallery --box 40,30,200,180 --report hits.html
    """
    with friendly_errors():
        from lookalike.gallery import Gallery
        from lookalike.reports.search import hits_csv, search_report

        gallery = Gallery.open(uri)
        hits = gallery.search(
            queries[0] if len(queries) == 1 else queries,
            k=k,
            box=_box(box),
            polygon=_corners(polygon),
            rerank=rerank,
            shortlist=shortlist,
            where=where,
            min_similarity=min_similarity,
            leave_self_out=leave_self_out,
        )
        asked = {"query": ", ".join(queries), "k": str(k), "box": box, "polygon": polygon, "filter": where}
        asked |= {"re-ranked by": rerank and f"{rerank}, the first {shortlist}"}
        if report is not None:
            facts = {name: value for name, value in asked.items() if value}
            write_text(report, search_report(hits, gallery, parameters=facts))
        if csv is not None:
            write_text(csv, hits_csv(hits))
        if as_json:
            answer = {"query": queries, "gallery": uri, "model": gallery.embedder.name}
            print_json({**answer, "good_match": _is_good(hits), "hits": [hit.to_dict() for hit in hits]})
        else:
            _print_hits(hits, [path for path in (report, csv) if path is not None])
            if gallery.calibration is not None and (box or polygon):
                typer.echo("no probabilities: they are calibrated for whole pictures, not for parts")


def _is_good(hits: Sequence[Hit]) -> bool | None:
    """Whether the likeliest hit is more likely a match than not; None where nobody knows."""
    if any(hit.probability is None for hit in hits):
        return None
    return any((hit.probability or 0) >= 0.5 for hit in hits)


def _print_hits(hits: Sequence[Hit], written: list[Path]) -> None:
    if _is_good(hits) is False:
        typer.echo("no good match" + (": the hits below are more likely none" if hits else ""))
    header = ("", "similarity", "probability", "before", "path")
    rows = [
        (
            str(hit.rank),
            f"{hit.similarity:.4f}",
            "" if hit.probability is None else f"{hit.probability:.2f}",
            "" if hit.rank_before in (None, hit.rank) else str(hit.rank_before),
            str(hit.path),
        )
        for hit in hits
    ]
    used = [i for i in range(len(header)) if i in (0, 1, 4) or any(row[i] for row in rows)]
    print_table(tuple(header[i] for i in used), [tuple(row[i] for i in used) for row in rows])
    for path in written:
        typer.echo(f"wrote {path}")


@upkeep.command()
def describe(uri: GalleryUri, as_json: AsJson = False) -> None:
    """Describe a gallery: its images, model and metadata.

    Example: lookalike gallery describe -g photos.gallery
    """
    with _opened(uri) as gallery:
        values = dataclasses.asdict(gallery.describe())
        if as_json:
            print_json(values)
        else:
            print_table(("", ""), [(name.replace("_", " "), str(value)) for name, value in values.items()])


@upkeep.command()
def remove(
    uri: GalleryUri,
    what: Annotated[
        list[str] | None, typer.Argument(metavar="[ID|FILE|FOLDER]...", help="Images to remove.")
    ] = None,
    vanished: Annotated[
        bool, typer.Option("--vanished", help="Remove all files that no longer exist.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove images by id, file or folder; the files stay.

    Example: lookalike gallery remove -g photos.gallery photos/private
    """
    if not what and not vanished:
        raise typer.BadParameter("say what to remove: ids, files or folders, or --vanished")
    with _opened(uri) as gallery:
        removed = gallery.remove(what or []) + (gallery.prune() if vanished else 0)
        _print_or_json(
            as_json, {"removed": removed, "images": len(gallery)}, "removed {removed}, {images} left"
        )


@upkeep.command()
def optimize(uri: GalleryUri, as_json: AsJson = False) -> None:
    """Make searches of a large gallery faster.

    Builds the accelerator, which needs the extra: pip install 'lookalike[scale]'. A gallery beyond the
    memory budget (4 GiB of vectors) needs no extra: without it, it gets the store's own index. Searches
    are then approximate until the gallery changes; what they find is scored exactly.

    Example: lookalike gallery optimize -g photos.gallery
    """
    with _opened(uri) as gallery:
        _print_or_json(as_json, {"vectors": gallery.optimize()}, "the accelerator holds {vectors} vectors")


@upkeep.command()
def calibrate(
    uri: GalleryUri,
    pairs: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Labeled pairs: columns a, b, match.")
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="Metadata field that matching pictures share, such as label.")
    ] = None,
    prior: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Prior probability that a query has a match.")
    ] = 0.5,
    count: Annotated[int, typer.Option(min=5, help="Number of images to learn from.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Learn the probability of a match from the similarity.

    From labeled pairs or a field; without either from altered copies of the gallery's pictures.

    Example: lookalike gallery calibrate -g photos.gallery
    """
    with _opened(uri) as gallery:
        from lookalike.gallery import labeled_pairs

        found = None if pairs is None else labeled_pairs(pairs)
        curve = gallery.calibrate(found, field=field, prior=prior, count=count)
        values = {**curve.to_dict(), "threshold": curve.threshold}
        _print_or_json(
            as_json, values, "a hit is a match from similarity {threshold:.3f}, learned from {source}"
        )


@contextmanager
def _opened(uri: str) -> Iterator[Gallery]:
    with friendly_errors():
        from lookalike.gallery import Gallery

        yield Gallery.open(uri)


def _print_or_json(as_json: bool, values: dict[str, Any], sentence: str) -> None:
    if as_json:
        print_json(values)
    else:
        typer.echo(sentence.format(**values))


def _box(text: str | None) -> tuple[float, float, float, float] | None:
    if text is None:
        return None
    numbers = _numbers(text, "--box takes four numbers, left,top,right,bottom")
    if len(numbers) != 4:
        raise typer.BadParameter(f"--box takes four numbers, left,top,right,bottom; got {text!r}")
    return numbers[0], numbers[1], numbers[2], numbers[3]


def _corners(text: str | None) -> list[tuple[float, float]] | None:
    if text is None:
        return None
    numbers = _numbers(text, "--polygon takes x,y of each corner")
    if len(numbers) % 2:
        raise typer.BadParameter(f"--polygon takes x,y of each corner, an even number; got {len(numbers)}")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def _numbers(text: str, expected: str) -> list[float]:
    try:
        return [float(part) for part in text.replace(" ", ",").split(",") if part]
    except ValueError as error:
        raise typer.BadParameter(f"{expected}; got {text!r}") from error
