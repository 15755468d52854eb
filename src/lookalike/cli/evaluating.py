"""The command that says how good an embedding is: ``evaluate``, a group with a default."""

from __future__ import annotations

import dataclasses
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.default_command import DefaultCommandGroup
from lookalike.cli.options import AsJson, InputSize, Normalization, Pooling, parse_size
from lookalike.cli.printing import friendly_errors, print_json, print_table, progress_bar, write_text

if TYPE_CHECKING:
    from lookalike.evaluation import Evaluation

# Other protocols are commands of their own: @evaluations.command("revisited").
evaluations = typer.Typer(
    cls=DefaultCommandGroup, help="Say how well an embedding finds what has the same label."
)

Layout = Annotated[str, typer.Option(help="Of DATA; auto looks at the files.")]
Split = Annotated[str | None, typer.Option(help="Of DATA, where it has several: train, val, test, gallery.")]
Field = Annotated[str, typer.Option(help="Of a gallery: the metadata that is the label.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Only so many images, evenly over DATA.")]
Workers = Annotated[int, typer.Option(min=0, help="Processes that decode images; 0 decodes here.")]


@evaluations.command("retrieval")
def evaluate(
    data: Annotated[
        Path | None, typer.Argument(help="Labeled images (class folders and other layouts), or a gallery.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="For images: mini, any timm name, a folder, a file.")] = (
        None
    ),
    split: Split = None,
    query_split: Annotated[
        str | None, typer.Option(help="Queries from this split of DATA, not from the gallery itself.")
    ] = None,
    layout: Layout = "auto",
    field: Field = "label",
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead of DATA: .npy, .npz, .safetensors or .pt.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A label for each row; .txt too. Else as embeddings.")
    ] = None,
    query_embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Queries that are not the gallery itself.")
    ] = None,
    query_labels: Annotated[Path | None, typer.Option(metavar="FILE", help="A label for each of them.")] = (
        None
    ),
    ks: Annotated[str, typer.Option("-k", metavar="K,K,...", help="Ks of Recall@K.")] = "1,2,4,8",
    clustering: Annotated[bool, typer.Option(help="NMI and AMI of k-means; slow for many classes.")] = True,
    pooling: Pooling = None,
    input_size: InputSize = None,
    normalization: Normalization = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write one file with the worst classes' pictures."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of intervals and clusters.")] = 0,
    worst: Annotated[int, typer.Option(min=0, help="How many of the worst classes to tell.")] = 5,
    limit: Limit = None,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Say how well an embedding finds what has the same label.

    Recall, precision, intervals and classes, of images asked with a model, a gallery by its labels, or
    your own arrays. The rules that held are printed.

    Other sub-commands, each with a --help of its own: `evaluate revisited` judges by the revisited
    Oxford/Paris protocol, `evaluate before-after` draws what re-ranking changes.

    Example: lookalike evaluate birds/ --split test --model mini
    """
    if (data is None) == (embeddings is None):
        raise typer.BadParameter("name either DATA (images or a gallery) or --embeddings")
    wanted = _ks(ks)
    with friendly_errors():
        from lookalike.evaluation import (
            Data,
            can_cluster,
            cluster_agreement,
            embeddings_of_files,
            load_for_evaluation,
            open_data,
            retrieve,
            summarize,
        )
        from lookalike.reports.evaluation import evaluation_report

        queries = None
        if embeddings is not None:
            gallery = embeddings_of_files(embeddings, labels)
            if query_embeddings is not None:
                queries = embeddings_of_files(query_embeddings, query_labels)
        else:
            assert data is not None
            made = {"pooling": pooling, "input_size": parse_size(input_size), "normalization": normalization}
            changes = {name: value for name, value in made.items() if value is not None}
            asked = load_for_evaluation(model or "mini", **changes) if changes else model
            opened = partial(open_data, model=asked, limit=limit, workers=workers, progress=progress_bar)
            gallery = opened(Data(data, split, layout, field))
            if query_split is not None:
                queries = opened(Data(data, query_split, layout, field))
        sides = (queries, gallery) if queries else (gallery, None)
        retrieved = retrieve(*sides, ks=wanted, progress=progress_bar)
        clusters = cluster_agreement(gallery, seed=seed) if clustering and can_cluster() else None
        evaluation = summarize(retrieved, clusters=clusters, seed=seed)
        if as_json:
            print_json(dataclasses.asdict(evaluation))
        else:
            _print_evaluation(evaluation, worst)
        if report is not None:  # last: a page that can't be written costs no metric
            write_text(report, evaluation_report(evaluation, retrieved))
            if not as_json:
                typer.echo(f"wrote {report}")


def _ks(text: str) -> list[int]:
    parts = text.split(",")
    if not all(part.strip().isdecimal() and int(part) > 0 for part in parts):
        raise typer.BadParameter(f"-k takes whole numbers of 1 or more, such as 1,2,4,8; got {text!r}")
    return [int(part) for part in parts]


def _print_evaluation(evaluation: Evaluation, n_worst: int) -> None:
    model = f" with {evaluation.model}" if evaluation.model else ""
    typer.echo(
        f"{evaluation.source}{model}: {evaluation.n_queries:,} queries, {evaluation.n_gallery:,} images "
        f"of {evaluation.n_classes:,} classes, {evaluation.width} dimensions"
    )
    from lookalike.reports.evaluation import metric_title

    rows = [
        (metric_title(each.metric), f"{each.value:.2%}", f"{each.low:.2%} to {each.high:.2%}")
        for each in evaluation.metrics
    ]
    if evaluation.clusters is not None:
        rows += [("NMI", f"{evaluation.clusters.nmi:.2%}", ""), ("AMI", f"{evaluation.clusters.ami:.2%}", "")]
    print_table(("", "mean", "95 % interval"), rows)
    worst = [
        (each.label, str(each.n_queries), f"{each.recall_at_1:.1%}", f"{each.map_at_r:.1%}",
         f"{each.confused_with} ({each.n_confused})" if each.confused_with else "")
        for each in evaluation.classes[:n_worst]
    ]  # fmt: skip
    print_table(("worst classes", "queries", "Recall@1", "MAP@R", "most often found instead"), worst)
    for rule in evaluation.rules:
        typer.echo(rule)
    for path, reason in evaluation.left_out:
        typer.echo(f"left out: {path}: {reason}", err=True)
