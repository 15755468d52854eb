"""``lookalike index``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from lookalike.cli.index_report import print_report
from lookalike.cli.options import (
    AsJson,
    DeviceName,
    Engine,
    GalleryUri,
    LevelsText,
    MaxPixels,
    PrecisionName,
    RayAddress,
    parse_levels,
)
from lookalike.cli.printing import echo, friendly_errors, print_json, shown_progress

if TYPE_CHECKING:
    from lookalike.models.embedder import Precision


def index(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Folder of images with its subfolders, s3:// prefix, CSV or Parquet table with a column "
            "path, WebDataset tars, or images.",
        ),
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
    prune: Annotated[
        bool, typer.Option("--prune", help="Forget files that no longer exist in SOURCE.")
    ] = False,
    yes: Annotated[
        bool,
        typer.Option(
            "--yes",
            help="With --prune: also if SOURCE or a folder in it is empty, or most of the gallery goes.",
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
        int | None, typer.Option(min=0, help="Number of processes that decode images, or of Ray workers.")
    ] = None,
    engine: Engine = "local",
    address: RayAddress = None,
    runtime: Annotated[
        str,
        typer.Option(
            metavar="eager|openvino|onnx|compile|auto",
            help="What embeds: the model, or a faster form of it that is compared first (docs/speed.md).",
        ),
    ] = "eager",
    device: DeviceName = "auto",
    precision: PrecisionName = None,
    levels: LevelsText = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Create a gallery from images, or update it.

    Only new files are embedded. Unreadable files are listed and don't change the exit code. Moved and
    renamed files keep their metadata. --prune never forgets what could not be looked at, and asks before it
    forgets more than half of the gallery; `gallery restore` brings back what was forgotten.

    Example: lookalike index photos/ -g photos.gallery
    """
    source = _source(sources)
    with friendly_errors():
        from lookalike.types.machine import usable_cores, use_few_heaps

        if engine == "local" and workers != 0 and usable_cores() > 1:
            from lookalike.images.decoding import start_ahead

            start_ahead()  # beside the import of torch and the loading of the model
        from lookalike.errors import GalleryError
        from lookalike.gallery import Gallery, combined_metadata, is_table

        use_few_heaps()
        values = combined_metadata(
            folders=sources[0] if labels_from_folders else None,
            table=source if types and metadata is None and is_table(source) else metadata,
            types=_types(types or []),
        )
        opened = Gallery.open_or_create(
            uri,
            model,
            keep_shares=keep_shares,
            precision=cast("Precision | None", precision),
            device=device,
            levels=parse_levels(levels),
        )
        with shown_progress() as bar:
            report = opened.add(
                source,
                metadata=values,
                ignore=ignore or (),
                prune=prune,
                yes=yes,
                workers=workers,
                engine=engine,
                address=address,
                runtime=runtime,
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


def _source(sources: list[str]) -> str | list[str]:
    """One source, or several files. Raises BadParameter for what is not there, and for several folders."""
    for name in sources:
        if not ("://" in name or "{" in name or Path(name).exists()):
            raise typer.BadParameter(f"Path {name!r} does not exist.", param_hint="SOURCE")
    if len(sources) == 1:
        return sources[0]
    if folder := next((name for name in sources if name.endswith("/") or Path(name).is_dir()), None):
        raise typer.BadParameter(
            f"index one folder after the other; {folder} is one of several", param_hint="SOURCE"
        )
    return sources


def _types(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.rpartition("=") for text in texts]
    if wrong := next((text for text, pair in zip(texts, pairs, strict=True) if not pair[0]), None):
        raise typer.BadParameter(f"--types takes COLUMN=TYPE, such as code=text; got {wrong!r}")
    return {name.strip(): kind.strip() for name, _, kind in pairs}
