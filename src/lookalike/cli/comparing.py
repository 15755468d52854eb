"""``lookalike compare``: compare two models on the same images."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.evaluating import Layout, Limit, Split, Workers
from lookalike.cli.options import AsJson, MaxPixels
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress, write_text

if TYPE_CHECKING:
    from lookalike.evaluation.comparison import Comparison


def compare(
    data: Annotated[
        Path | None, typer.Argument(help="Labeled images: class folders or a known dataset layout.")
    ] = (None),
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model: mini, a timm name, a saved folder or a checkpoint. Give this option twice."
        ),
    ] = None,
    split: Split = None,
    layout: Layout = "auto",
    embeddings: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Instead of DATA and models; compares metrics and results only. Give this option twice.",
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Labels of the rows of both files.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Number of image pairs whose maps are compared.")] = 40,
    cases: Annotated[
        int, typer.Option(min=0, help="Number of queries to explain for each kind of disagreement.")
    ] = 4,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a report with metrics, image pairs and maps."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    limit: Limit = None,
    workers: Workers = 0,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Compare two models on the same images.

    Compares metrics, results and maps, down to single queries on which the models disagree, as Black
    et al. (WACV 2022) compare a transformer with a convolutional network. Both models answer the same
    queries, and differences are tested for significance in pairs.

    Example: lookalike compare grocery/test --model mini --model mini-vit --report compare.html
    """
    models, files = model or [], embeddings or []
    if (data is None) == (not files) or len(models) != 2 * (not files) or len(files) not in (0, 2):
        raise typer.BadParameter("give DATA and --model twice, or --embeddings twice")
    with friendly_errors():
        from lookalike.evaluation import DataSource, embeddings_of_files, load_for_evaluation, open_data
        from lookalike.evaluation.comparison import ComparisonSettings, compare
        from lookalike.reports.comparison import comparison_report

        settings = ComparisonSettings(n_pairs=pairs, n_cases=cases, seed=seed)
        with shown_progress() as progress:
            if data is None:
                embedders = None
                sides = [embeddings_of_files(file, labels) for file in files]
            else:
                embedders = (load_for_evaluation(models[0]), load_for_evaluation(models[1]))
                opened = partial(open_data, DataSource(data, split, layout), limit=limit, workers=workers)
                sides = [opened(embedder, progress=progress) for embedder in embedders]
            comparison = compare(
                sides[0], sides[1], embedders=embedders, settings=settings, progress=progress
            )
        if as_json:
            print_json(comparison.to_dict())
        else:
            _print_comparison(comparison)
        if report is not None:  # last: the metrics are printed even if the report can't be written
            write_text(report, comparison_report(comparison))
            if not as_json:
                echo(f"wrote {report}")


def _print_comparison(found: Comparison) -> None:
    echo(f"{found.source}: {found.n_queries:,} queries, {found.n_classes:,} classes")
    rows = [
        (
            each.title,
            f"{each.first:.2%}",
            f"{each.second:.2%}",
            f"{each.difference:+.2%}",
            f"{each.low:+.2%} to {each.high:+.2%}",
            f"{each.p_value:z.4f}",
        )
        for each in found.metrics
    ]
    print_table(("", found.first, found.second, "difference", "95 % interval", "p"), rows)
    counts = found.outcomes
    echo(
        f"first hit correct: both {counts.both:,}, only {found.first} {counts.only_first:,}, "
        f"only {found.second} {counts.only_second:,}, neither {counts.neither:,}"
    )
    jaccard = ", ".join(f"{value:z.2f} at {k}" for k, value in found.lists.jaccard)
    echo(f"overlap of results: Jaccard {jaccard}; rank-biased overlap {found.lists.rank_biased_overlap:z.2f}")
    if found.maps:
        _print_maps(found)
    for rule in found.rules:
        echo(rule)


def _print_maps(found: Comparison) -> None:
    agreements = [
        (
            each.first,
            each.second,
            f"{each.correlation:z.2f} ({each.correlation_by_chance:z.2f})",
            f"{each.shared_mass:z.2f} ({each.shared_mass_by_chance:z.2f})",
        )
        for each in found.maps
    ]
    print_table(("maps of", "and of", "correlation (chance)", "shared mass (chance)"), agreements)
    gains = [
        (
            f"{each.model}, {each.method}",
            f"{each.gain:+z.3f}",
            f"{each.low:+z.3f} to {each.high:+z.3f}",
            f"{each.mean_drop:z.3f}",
        )
        for each in found.faithfulness
    ]
    print_table(("faithfulness of maps", "gain", "95 % interval", "lost when all is hidden"), gains)
