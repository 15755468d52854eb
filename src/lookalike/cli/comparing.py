"""The command that sets two models side by side."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.evaluating import Layout, Limit, Split, Workers
from lookalike.cli.options import AsJson
from lookalike.cli.printing import friendly_errors, print_json, print_table, progress_bar, write_text

if TYPE_CHECKING:
    from lookalike.evaluation.comparison import Comparison

commands = typer.Typer()


@commands.command()
def compare(
    data: Annotated[Path | None, typer.Argument(help="Labeled images: class folders, other layouts.")] = (
        None
    ),
    model: Annotated[
        list[str] | None, typer.Option(help="Give it twice: mini, any timm name, a saved folder, a file.")
    ] = None,
    split: Split = None,
    layout: Layout = "auto",
    embeddings: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Instead of DATA and models, twice; metrics and lists only."),
    ] = None,
    labels: Annotated[Path | None, typer.Option(metavar="FILE", help="A label for each row of both.")] = None,
    pairs: Annotated[int, typer.Option(min=2, help="Pairs whose maps are compared.")] = 40,
    cases: Annotated[int, typer.Option(min=0, help="Cases of each kind that are explained.")] = 4,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", help="Write one file with metrics, pairs and maps.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of what is drawn at random.")] = 0,
    limit: Limit = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Set two models side by side: metrics, lists and maps.

    The study of Black et al. (WACV 2022), a transformer against a convolutional network, as one
    command, down to the queries on which the models part. Both answer the same queries, so differences
    are tested in pairs.

    Example: lookalike compare grocery/test --model mini --model mini-vit --report compare.html
    """
    models, files = model or [], embeddings or []
    if (data is None) == (not files) or len(models) != 2 * (not files) or len(files) not in (0, 2):
        raise typer.BadParameter("name DATA and --model twice, or --embeddings twice")
    with friendly_errors():
        from lookalike.evaluation import Data, embeddings_of_files, load_for_evaluation, open_data
        from lookalike.evaluation.comparison import Settings, compare
        from lookalike.reports.comparison import comparison_report

        settings = Settings(n_pairs=pairs, n_cases=cases, seed=seed)
        if data is None:
            sides = [embeddings_of_files(file, labels) for file in files]
            compared = compare(sides[0], sides[1], settings=settings, progress=progress_bar)
        else:
            embedders = (load_for_evaluation(models[0]), load_for_evaluation(models[1]))
            opened = partial(open_data, Data(data, split, layout), limit=limit, workers=workers)
            sides = [opened(embedder, progress=progress_bar) for embedder in embedders]
            compared = compare(
                sides[0], sides[1], embedders=embedders, settings=settings, progress=progress_bar
            )
        if as_json:
            print_json(dataclasses.asdict(compared.comparison))
        else:
            _print_comparison(compared.comparison)
        if report is not None:  # last: a page that can't be written costs no metric
            write_text(report, comparison_report(compared))
            if not as_json:
                typer.echo(f"wrote {report}")


def _print_comparison(found: Comparison) -> None:
    typer.echo(f"{found.source}: {found.n_queries:,} queries, {found.n_classes:,} classes")
    from lookalike.reports.evaluation import metric_title

    rows = [
        (
            metric_title(each.metric),
            f"{each.first:.2%}",
            f"{each.second:.2%}",
            f"{each.difference:+.2%}",
            f"{each.low:+.2%} to {each.high:+.2%}",
            f"{each.p_value:.4f}",
        )
        for each in found.metrics
    ]
    print_table(("", found.first, found.second, "difference", "95 % interval", "p"), rows)
    counts = found.outcomes
    typer.echo(
        f"first hit right: both {counts.both:,}, only {found.first} {counts.only_first:,}, "
        f"only {found.second} {counts.only_second:,}, neither {counts.neither:,}"
    )
    jaccard = ", ".join(f"{value:.2f} at {k}" for k, value in found.lists.jaccard)
    typer.echo(f"lists: Jaccard {jaccard}; rank-biased overlap {found.lists.rank_biased_overlap:.2f}")
    if found.maps:
        _print_maps(found)
    for rule in found.rules:
        typer.echo(rule)


def _print_maps(found: Comparison) -> None:
    agreements = [
        (
            each.first,
            each.second,
            f"{each.correlation:.2f} ({each.correlation_by_chance:.2f})",
            f"{each.shared_mass:.2f} ({each.shared_mass_by_chance:.2f})",
        )
        for each in found.maps
    ]
    print_table(("maps of", "and of", "correlation (chance)", "shared mass (chance)"), agreements)
    gains = [
        (
            f"{each.model}, {each.method}",
            f"{each.gain:+.3f}",
            f"{each.low:+.3f} to {each.high:+.3f}",
            f"{each.mean_drop:.3f}",
        )
        for each in found.faithfulness
    ]
    print_table(("faithfulness of maps", "gain", "95 % interval", "lost when all is hidden"), gains)
