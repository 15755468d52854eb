"""``lookalike evaluate before-after``, and helpers for commands that write plots."""

from __future__ import annotations

from functools import partial
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from lookalike.cli.options import AsJson, parse_assignments
from lookalike.cli.printing import echo, friendly_errors, print_json, shown_progress
from lookalike.errors import LookalikeError

Show = Annotated[
    str | None,
    typer.Option(
        metavar="N,N,...",
        help="Queries to draw, counted from 0; chosen automatically by default.",
    ),
]


def import_plots() -> ModuleType:
    """Import the plotting module. Raises LookalikeError if matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise LookalikeError("plots need matplotlib: pip install 'lookalike[train]'")
    import lookalike.reports.plots.ranking_comparisons as ranking_comparisons

    return ranking_comparisons


def parse_numbers(text: str | None) -> list[int] | None:
    """Parse integers such as ``3,17``. Raises typer.BadParameter."""
    if text is None:
        return None
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise typer.BadParameter(f"--show takes integers such as 3,17; got {text!r}")
    return [int(part) for part in text.split(",")]


def before_after(
    data: Annotated[Path, typer.Argument(help="Labeled images, or a gallery with labels in its metadata.")],
    plots: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the plots.")],
    rerank: Annotated[
        str,
        typer.Option(metavar="METHOD", help="Re-ranker: aqe, k-reciprocal, superglobal, csa, dba+aqe, ..."),
    ] = "aqe",
    model: Annotated[
        str | None,
        typer.Option(help="For images: mini (default), a timm name, a saved folder or a checkpoint."),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="Split of DATA, if it has several: train, val, test, gallery.")
    ] = None,
    query_split: Annotated[
        str | None,
        typer.Option(help="Split of DATA with the queries; by default the gallery's images are the queries."),
    ] = None,
    field: Annotated[str, typer.Option(help="For a gallery: metadata field that holds the label.")] = "label",
    k: Annotated[int, typer.Option("-k", min=1, help="Number of top results to re-rank.")] = 100,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Option of the re-ranker; can be repeated."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=2, help="Maximum number of images, spread evenly over DATA.")
    ] = None,
    show: Show = None,
    as_json: AsJson = False,
) -> None:
    """Plot the effect of re-ranking, query by query.

    Draws the results of some queries marked as right or wrong, precision-recall curves, and the average
    precision of each query before and after re-ranking.

    Example: lookalike evaluate before-after birds/ --split test --rerank aqe --plots plots/
    """
    shown = parse_numbers(show)
    with friendly_errors():
        ranking_comparisons = import_plots()
        from lookalike.evaluation import DataSource, open_data

        options = parse_assignments(option or [])
        with shown_progress() as progress:
            opened = partial(open_data, model=model, limit=limit, progress=progress)
            gallery = opened(DataSource(data, split, field=field))
            queries = opened(DataSource(data, query_split, field=field)) if query_split else None
            comparison = ranking_comparisons.compare_rankings(
                queries, gallery, rerank, k=k, progress=progress, **options
            )
        written = ranking_comparisons.write_plots(comparison, plots, shown=shown)
        means = ranking_comparisons.mean_average_precision(comparison)
        if as_json:
            print_json({"map_before": means[0], "map_after": means[1], "plots": written})
            return
        echo(f"mAP {means[0]:.2%} before, {means[1]:.2%} after {rerank}")
        for path in written:
            echo(f"wrote {path}")
