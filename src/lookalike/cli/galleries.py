"""``lookalike gallery``."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli.cases import existing_case
from lookalike.cli.index_report import print_files
from lookalike.cli.options import AsJson, GalleryUri
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table

if TYPE_CHECKING:
    from lookalike.gallery import Gallery

gallery = typer.Typer(help="Describe, check, restore or calibrate a gallery.", no_args_is_help=True)


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
