"""``lookalike evaluate before-after``, and what commands that write plots share."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer

from lookalike.cli.options import AsJson, parse_assignments
from lookalike.cli.printing import friendly_errors, print_json, progress_bar
from lookalike.errors import LookalikeError

Show = Annotated[
    str | None,
    typer.Option(metavar="N,N,...", help="Queries whose results are drawn, from 0; else they are chosen."),
]


def import_plots() -> ModuleType:
    """The package of plots. Raises LookalikeError where matplotlib is not installed."""
    if find_spec("matplotlib") is None:
        raise LookalikeError("plots need matplotlib: pip install 'lookalike[train]'")
    import lookalike.reports.plots.ranking_comparisons as ranking_comparisons

    return ranking_comparisons


def parse_numbers(text: str | None) -> list[int] | None:
    """Whole numbers from ``3,17``."""
    if text is None:
        return None
    if not all(part.strip().isdigit() for part in text.split(",")):
        raise typer.BadParameter(f"--show takes whole numbers such as 3,17; got {text!r}")
    return [int(part) for part in text.split(",")]


def before_after(
    data: Annotated[Path, typer.Argument(help="Labeled images, or a gallery whose pictures have labels.")],
    plots: Annotated[Path, typer.Option(metavar="DIR", help="Where the plots go.")],
    rerank: Annotated[str, typer.Option(metavar="METHOD", help="aqe, k-reciprocal, dba+aqe, ...")] = "aqe",
    model: Annotated[
        str | None, typer.Option(help="For images: mini, any timm name, a folder, a file.")
    ] = None,
    split: Annotated[str | None, typer.Option(help="Of DATA: train, val, test, gallery.")] = None,
    query_split: Annotated[
        str | None, typer.Option(help="Queries from this split, not from DATA itself.")
    ] = None,
    field: Annotated[str, typer.Option(help="Of a gallery: the metadata that is the label.")] = "label",
    k: Annotated[int, typer.Option("-k", min=1, help="How many are re-ranked.")] = 100,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of the method.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=2, help="Only so many images, evenly over DATA.")] = None,
    show: Show = None,
    as_json: AsJson = False,
) -> None:
    """Draw what re-ranking changes, query by query.

    On labeled images or a gallery: results framed by right and wrong, precision-recall curves,
    average precision of each query before and after.

    Example: lookalike evaluate before-after birds/ --split test --rerank aqe --plots plots/
    """
    shown = parse_numbers(show)
    with friendly_errors():
        ranking_comparisons = import_plots()
        from lookalike.evaluation import Data, open_data

        gallery = open_data(Data(data, split, field=field), model, limit=limit, progress=progress_bar)
        queries = query_split and open_data(
            Data(data, query_split, field=field), model, limit=limit, progress=progress_bar
        )
        comparison = ranking_comparisons.story_of_labels(
            queries or None, gallery, rerank, k=k, progress=progress_bar, **parse_assignments(option or [])
        )
        written = ranking_comparisons.write_plots(comparison, plots, shown=shown)
        means = ranking_comparisons.mean_average_precision(comparison)
        if as_json:
            print_json({"map_before": means[0], "map_after": means[1], "plots": written})
            return
        typer.echo(f"mAP {means[0]:.2%} before, {means[1]:.2%} after {rerank}")
        for path in written:
            typer.echo(f"wrote {path}")
