"""``lookalike map``: the map of a collection, printed or written as a table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import AsJson, GalleryUri
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress, write_text

if TYPE_CHECKING:
    from PIL.Image import Image

    from lookalike.gallery import Gallery
    from lookalike.gallery.mapping import CollectionMap
    from lookalike.store import Record

_KINDS = (".parquet", ".csv")


def map_collection(
    uri: GalleryUri,
    layout: Annotated[
        str | None,
        typer.Option(
            help="umap (extra map) or pca. By default the one that is kept, else umap if installed."
        ),
    ] = None,
    clusters: Annotated[
        int | None,
        typer.Option(min=0, help="Number of clusters; 0 for none. By default as found."),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Another seed makes another layout.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Make the layout anew.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write a table: .parquet (Embedding Atlas opens it) or .csv."),
    ] = None,
    html: Annotated[
        Path | None,
        typer.Option("--html", metavar="FILE", help="Write a page to look around in; it opens offline."),
    ] = None,
    thumbnails: Annotated[
        int, typer.Option(min=0, max=100_000, help="Pictures in that page, about 3 KB each.")
    ] = 2000,
    neighbors: Annotated[
        int, typer.Option(min=0, max=100, help="Nearest pictures of each in the Parquet table.")
    ] = 10,
    as_json: AsJson = False,
) -> None:
    """Map a collection: similar pictures lie near each other.

    The layout is kept beside the gallery; pictures that are added later are placed into it, and what is
    there does not move.

    Example: lookalike map -g photos.gallery --out map.parquet
    """
    if out is not None and out.suffix.lower() not in _KINDS:
        raise typer.BadParameter(f"--out takes a file that ends in {' or '.join(_KINDS)}; got {out}")
    with friendly_errors():
        from lookalike.gallery import Gallery

        gallery = Gallery.open(uri)
        found = gallery.map(layout, clusters=clusters, seed=seed, again=again)
        if out is not None:
            _write(found, out, neighbors)
        if html is not None:
            _write_page(gallery, found, html, thumbnails)
        if as_json:
            print_json({"gallery": uri, **found.to_dict()})
            return
        _print_map(found)
        for file in (out, html):
            if file is not None:
                echo(f"wrote {file}")


def _write(found: CollectionMap, out: Path, neighbors: int) -> None:
    if out.suffix.lower() == ".csv":
        write_text(out, found.to_csv())
        return
    with shown_progress() as bar:
        found.write_parquet(out, neighbors=neighbors, progress=bar)


def _write_page(gallery: Gallery, found: CollectionMap, file: Path, thumbnails: int) -> None:
    from lookalike.gallery.query import existing_file
    from lookalike.reports.map import map_page

    def picture_of(record: Record) -> Image:
        return gallery.embedder.picture(existing_file(record), at_least=(160, 160)).image

    name = Path(gallery.uri or "gallery").stem
    with shown_progress() as bar:
        text = map_page(
            found, picture_of, title=f"Map of {name}", thumbnails=thumbnails, progress=bar,
            about=f"{found.layout.upper()}, seed {found.seed}, model {gallery.describe().model}.",
        )  # fmt: skip
    write_text(file, text)


def _print_map(found: CollectionMap) -> None:
    names = {record.id: Path(record.path).name for record in found.records}
    print_table(
        ("cluster", "pictures", "title", "typical"),
        [
            (
                str(each.number + 1),
                f"{each.size:,}",
                each.title,
                ", ".join(names[id] for id in each.typical[:3]),
            )
            for each in found.groups
        ],
    )
    alone = int((found.clusters < 0).sum())
    rest = f"; {alone:,} in none" if alone and found.groups else ""
    echo(f"{len(found):,} pictures by {found.layout}, seed {found.seed}, {len(found.groups)} clusters{rest}")
    if found.remark:
        echo(found.remark, err=True)
