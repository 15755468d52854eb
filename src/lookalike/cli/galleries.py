"""``lookalike index``, ``search`` and ``gallery``."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli.cases import add_to_case, examples_in, existing_case
from lookalike.cli.index_report import print_files, print_report
from lookalike.cli.many_queries import search_queries
from lookalike.cli.options import AsJson, LevelsText, MaxPixels, keep_inputs, parse_levels
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress, write_text
from lookalike.cli.verified import check_alone, correction_in_words, inliers_in_words, print_regions

if TYPE_CHECKING:
    from lookalike.gallery import Gallery, Hit
    from lookalike.types import Explanation

gallery = typer.Typer(help="Describe, check, restore or calibrate a gallery.", no_args_is_help=True)

GalleryUri = Annotated[
    str, typer.Option("--gallery", "-g", metavar="GALLERY", help="Folder of the gallery, or an s3:// URI.")
]


def index(
    source: Annotated[
        Path, typer.Argument(metavar="DIR", exists=True, help="Folder of images, including subfolders.")
    ],
    uri: GalleryUri,
    model: Annotated[
        str | None,
        typer.Option(
            help="For a new gallery: mini (default), a timm name, a saved folder, or open_clip:NAME@FILE."
        ),
    ] = None,
    labels_from_folders: Annotated[
        bool, typer.Option("--labels-from-folders", help="Store the name of each file's folder as label.")
    ] = False,
    metadata: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="CSV or Parquet file with a column path; other columns are stored as metadata.",
        ),
    ] = None,
    types: Annotated[
        list[str] | None,
        typer.Option(
            metavar="COLUMN=TYPE",
            help="Type of a column of the table: text, integer, number, decimal-comma or boolean; can be "
            "repeated.",
        ),
    ] = None,
    ignore: Annotated[
        list[str] | None,
        typer.Option(metavar="PATTERN", help="Ignore files that match the pattern; can be repeated."),
    ] = None,
    prune: Annotated[bool, typer.Option("--prune", help="Forget files that no longer exist in DIR.")] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes", help="With --prune: also if DIR or a folder in it is empty, or most of the gallery goes."
        ),
    ] = False,
    keep_shares: Annotated[
        bool,
        typer.Option(
            "--keep-shares",
            help="For a new gallery: store the cells' shares for faster explanations.",
        ),
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=0, help="Number of processes that decode images.")
    ] = None,
    levels: LevelsText = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Create a gallery from a folder, or update it.

    Only new files are embedded. Unreadable files are listed and don't change the exit code. Moved and
    renamed files keep their metadata. --prune never forgets what could not be looked at, and asks before it
    forgets more than half of the gallery; `gallery restore` brings back what was forgotten.

    Example: lookalike index photos/ -g photos.gallery
    """
    with friendly_errors():
        from lookalike.errors import GalleryError
        from lookalike.gallery import Gallery, combined_metadata

        values = combined_metadata(
            folders=source if labels_from_folders else None, table=metadata, types=_types(types or [])
        )
        opened = Gallery.open_or_create(uri, model, keep_shares=keep_shares, levels=parse_levels(levels))
        with shown_progress() as bar:
            report = opened.add(
                source,
                metadata=values,
                ignore=ignore or (),
                prune=prune,
                yes=yes,
                workers=workers,
                progress=bar,
            )
        if as_json:
            print_json({**dataclasses.asdict(report), "images": len(opened), "gallery": uri})
        else:
            print_report(report, len(opened), uri)
            if (hubness := opened.hubs()) is not None and hubness.hubs:
                echo(hubness.sentence)
        if report.not_pruned:
            raise GalleryError(f"nothing was forgotten: {report.not_pruned}; if that is right, add --yes")


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
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write a report with hits, maps and file hashes.")
    ] = None,
    contrast: Annotated[
        bool,
        typer.Option(
            "--contrast", help="In the report, draw what a hit shares beyond what all pictures share."
        ),
    ] = False,
    csv: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write the hits as a table.")] = None,
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
    if each is not None and (queries or box or polygon or contrast):
        raise typer.BadParameter(
            "searches for whole images by themselves; leave IMAGE, --box, --polygon and --contrast out",
            param_hint="--each",
        )
    if each is not None and csv is None:
        raise typer.BadParameter("needs a table to write; add --csv out.csv", param_hint="--each")
    if each is None and not queries and text is None:
        raise typer.BadParameter("give an image to search for, --text WORDS, or --each FOLDER")
    queries = queries or []
    if contrast and report is None:
        raise typer.BadParameter(
            "changes the maps of a report; add --report hits.html", param_hint="--contrast"
        )
    with friendly_errors():
        from lookalike.gallery import Gallery
        from lookalike.reports.search import hits_csv, search_report

        keep_inputs(queries, report, csv)
        opened = Gallery.open(uri)
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
            "text": text, "unlike": unlike or (), "weight": weight,
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
            correct=correct,
            **options,
        )
        if case is not None:
            settings = {"k": k, "rerank": rerank, "where": where, "min_similarity": min_similarity}
            add_to_case(hits, opened.case(case), queries[0], settings | {"examples": examples})
        if report is not None:
            reranked = hits.rerank and f"{hits.rerank}, the first {shortlist}"
            parameters = {"query": ", ".join(queries), "words": text, "not": ", ".join(unlike or ())}
            parameters |= {"k": str(k), "box": box, "polygon": polygon}
            parameters |= {"corrected by": correct, "filter": where, "re-ranked by": reranked}
            parameters["maps"] = "beyond what all pictures of the gallery share" if contrast else None
            facts = {name: value for name, value in parameters.items() if value}
            write_text(report, search_report(hits, opened, parameters=facts, explain=_explainer(contrast)))
        if csv is not None:
            write_text(csv, hits_csv(hits))
        if as_json:
            asked = {"query": queries, "text": text, "unlike": unlike or []}
            print_json({**asked, "gallery": uri, "good_match": _is_good(hits), **hits.to_dict()})
        else:
            by_distance = hits.rerank == "avsl"
            written = [path for path in (report, csv) if path is not None]
            _print_hits(hits, written, with_scores=by_distance or bool(correct))
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
            str(hit.path) + "".join(f"\n= {copy.path}" for copy in hit.record.copies),
        )
        for hit in hits
    ]
    used = [i for i in range(len(header)) if i in (0, 1, 6) or any(row[i] for row in rows)]
    print_table(tuple(header[i] for i in used), [tuple(row[i] for i in used) for row in rows])
    for path in written:
        echo(f"wrote {path}")


@gallery.command()
def describe(uri: GalleryUri, as_json: AsJson = False) -> None:
    """Print a gallery's size, model and metadata fields.

    Example: lookalike gallery describe -g photos.gallery
    """
    with _opened(uri) as opened:
        hubness = opened.hubs()
        values = dataclasses.asdict(opened.describe())
        values["hubs"] = "not counted: too large" if hubness is None else hubness.sentence or "none"
        if as_json:
            print_json(values)
        else:
            print_table(("", ""), [(name.replace("_", " "), str(value)) for name, value in values.items()])


@gallery.command()
def remove(
    uri: GalleryUri,
    images: Annotated[
        list[str] | None, typer.Argument(metavar="[ID|FILE|FOLDER]...", help="Images to remove.")
    ] = None,
    vanished: Annotated[
        bool, typer.Option("--vanished", help="Remove all files that no longer exist.")
    ] = False,
    yes: Annotated[
        bool, typer.Option("--yes", help="With --vanished: also if most of the gallery goes.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Remove images by id, file or folder; files on disk are kept.

    `gallery restore` brings them back.

    Example: lookalike gallery remove -g photos.gallery photos/private
    """
    if not images and not vanished:
        raise typer.BadParameter("give ids, files or folders to remove, or --vanished")
    with _opened(uri) as opened:
        removed = opened.remove(images or [])
        kept: tuple[tuple[str, int], ...] = ()
        if vanished:
            absent = opened.absent()
            kept = absent.kept(absent.forgettable(yes))
            removed += opened.prune(yes=yes)
        values = {"removed": removed, "images": len(opened)}
        _print_or_json(
            as_json, values | {"kept": kept} if vanished else values, "removed {removed}, {images} left"
        )
        if not as_json:
            for reason, n in kept:
                echo(f"kept {n:,} files that are not found: {reason}", err=True)


@gallery.command()
def restore(
    uri: GalleryUri,
    version: Annotated[
        int | None, typer.Option(help="Version to restore from; by default what was forgotten last.")
    ] = None,
    listed: Annotated[
        bool, typer.Option("--list", help="List the versions and what each would bring back; change nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring back images that were pruned or removed.

    Their metadata comes back too, and images added since stay. Each call goes back one step further.

    Example: lookalike gallery restore -g photos.gallery
    """
    with _opened(uri) as opened:
        if listed:
            earlier = opened.versions()
            if as_json:
                print_json({"versions": [dataclasses.asdict(each) for each in earlier]})
                return
            print_table(
                ("version", "written", "images", "brings back"),
                [
                    (str(each.version), each.written, f"{each.n_images:,}", f"{len(each.forgotten):,} files")
                    for each in earlier
                ],
            )
            return
        restored = opened.restore(version)
        if as_json:
            print_json({**dataclasses.asdict(restored), "images": len(opened)})
            return
        echo(
            f"brought back {len(restored.forgotten):,} files of version {restored.version} "
            f"({restored.written}); the gallery has {len(opened):,} images"
        )
        print_files(restored.forgotten)


@gallery.command()
def optimize(uri: GalleryUri, as_json: AsJson = False) -> None:
    """Build an index for faster searches of a large gallery.

    The index needs the scale extra: pip install 'lookalike[scale]'. For galleries with more than 4 GiB
    of vectors the store's own index is used if the extra is not installed. Searches are then
    approximate, with exact scores, until the gallery changes.

    Example: lookalike gallery optimize -g photos.gallery
    """
    with _opened(uri) as opened:
        _print_or_json(as_json, {"vectors": opened.optimize()}, "indexed {vectors} vectors")


@gallery.command()
def check(
    uri: GalleryUri,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what can be repaired.")] = False,
    contents: Annotated[
        bool, typer.Option("--contents", help="Read every file, rather than compare sizes and times.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Check a gallery's rows, files and index, and repair them.

    Looked at are rows, files, doubles, norms, fingerprints and the accelerator. The exit code is 1 if damage
    is left. --repair embeds damaged images again.

    Example: lookalike gallery check -g photos.gallery --repair
    """
    with _opened(uri) as opened:
        report = opened.check(repair=repair, contents=contents)
        if as_json:
            print_json({**dataclasses.asdict(report), "is_sound": report.is_sound})
        else:
            for finding in report.findings:
                echo(f"{finding.part}: {finding.n:,} {finding.problem}")
                for example in finding.examples:
                    echo(f"  {example}")
            verdict = "sound" if report.is_sound else "damaged"
            echo(f"{verdict}: {report.n_images:,} images, {report.n_files:,} files")
        if not report.is_sound:
            raise typer.Exit(1)


@gallery.command()
def calibrate(
    uri: GalleryUri,
    pairs: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv", help="Labeled image pairs, with columns a, b and match."),
    ] = None,
    field: Annotated[
        str | None, typer.Option(help="Metadata field with equal values for matching images, such as label.")
    ] = None,
    case: Annotated[
        str | None, typer.Option(metavar="NAME", help="Pairs of whole pictures decided in this case.")
    ] = None,
    prior: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Prior probability that a query has a match.")
    ] = 0.5,
    count: Annotated[int, typer.Option(min=5, help="Number of images to calibrate on.")] = 200,
    as_json: AsJson = False,
) -> None:
    """Calibrate similarities as probabilities of a match.

    Uses labeled pairs, a case or a metadata field; without any, altered copies of the gallery's images.

    Example: lookalike gallery calibrate -g photos.gallery
    """
    with _opened(uri) as opened:
        from lookalike.gallery import labeled_pairs

        found = None if pairs is None else labeled_pairs(pairs)
        decided = None if case is None else existing_case(opened, case)
        curve = opened.calibrate(found, field=field, case=decided, prior=prior, count=count)
        values = {**curve.to_dict(), "threshold": curve.threshold, "geometry": opened.match_odds.to_dict()}
        _print_or_json(
            as_json, values, "similarity {threshold:z.3f} or more is a match; calibrated on {source}"
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
        echo(sentence.format(**values))


def _types(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.rpartition("=") for text in texts]
    if wrong := next((text for text, pair in zip(texts, pairs, strict=True) if not pair[0]), None):
        raise typer.BadParameter(f"--types takes COLUMN=TYPE, such as code=text; got {wrong!r}")
    return {name.strip(): kind.strip() for name, _, kind in pairs}


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
