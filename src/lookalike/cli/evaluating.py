"""``lookalike evaluate``: a command group whose default command is ``retrieval``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.default_command import DefaultCommandGroup
from lookalike.cli.options import (
    AsJson,
    Engine,
    HeadCount,
    InputSize,
    LearnedWhiteningName,
    MaxPixels,
    MeanImage,
    Normalization,
    OutputName,
    PoolingName,
    PrecisionName,
    RayAddress,
    keep_inputs,
    parse_ks,
    parse_size,
)
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress, write_text
from lookalike.cli.tables import ENDINGS, write_rows

if TYPE_CHECKING:
    from lookalike.evaluation import Evaluation

evaluations = typer.Typer(
    cls=DefaultCommandGroup, help="Measure how well an embedding retrieves matching images."
)

Layout = Annotated[str, typer.Option(help="Layout of DATA; auto detects it from the files.")]
Split = Annotated[
    str | None, typer.Option(help="Split of DATA, if it has several: train, val, test, gallery.")
]
Field = Annotated[str, typer.Option(help="For a gallery: metadata field that holds the label.")]
Limit = Annotated[int | None, typer.Option(min=2, help="Maximum number of images, spread evenly over DATA.")]
Workers = Annotated[
    int, typer.Option(min=0, help="Number of processes that decode images; 0 decodes in the main process.")
]
WorkersOfEngine = Annotated[
    int,
    typer.Option(
        min=0,
        help="Number of processes that decode images; 0 decodes in the main process. With --engine ray, of "
        "its workers; 0 is one for each core.",
    ),
]


@evaluations.command("retrieval")
def evaluate(
    data: Annotated[
        Path | None,
        typer.Argument(help="Labeled images (class folders or a known dataset layout), or a gallery."),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="For images: mini (default), a timm name, a saved folder or a checkpoint."),
    ] = None,
    split: Split = None,
    query_split: Annotated[
        str | None,
        typer.Option(help="Split of DATA with the queries; by default the gallery's images are the queries."),
    ] = None,
    layout: Layout = "auto",
    field: Field = "label",
    embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Instead of DATA: .npy, .npz, .safetensors or .pt.")
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Labels of the rows, also as .txt; by default read from the embeddings file."
        ),
    ] = None,
    query_embeddings: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Embeddings of separate queries, with --embeddings.")
    ] = None,
    query_labels: Annotated[Path | None, typer.Option(metavar="FILE", help="Labels of the queries.")] = (
        None
    ),
    ks: Annotated[str, typer.Option("-k", metavar="K,K,...", help="Values of K for Recall@K.")] = "1,2,4,8",
    clustering: Annotated[
        bool, typer.Option(help="Report NMI, AMI and F1 of clusters; slow with many classes.")
    ] = True,
    pooling: PoolingName = None,
    input_size: InputSize = None,
    normalization: Normalization = None,
    output_name: OutputName = None,
    mean_image: MeanImage = None,
    whitening: LearnedWhiteningName = None,
    heads: HeadCount = None,
    precision: PrecisionName = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a report with images of the worst classes."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help=f"Write each query's metrics as a table: {ENDINGS}."),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Random seed of confidence intervals and clusters.")] = 0,
    worst: Annotated[int, typer.Option(min=0, help="Number of classes with the lowest scores to print.")] = 5,
    limit: Limit = None,
    workers: WorkersOfEngine = 0,
    engine: Engine = "local",
    address: RayAddress = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Measure how well an embedding retrieves matching images.

    Prints recall, precision and mean average precision with confidence intervals, the classes with the
    lowest scores, and the rules of the evaluation. DATA is a folder of labeled images or a gallery; or
    give your own arrays with --embeddings.

    Other subcommands, each with its own --help: `evaluate revisited` follows the revisited Oxford/Paris
    protocol, `evaluate before-after` plots the effect of re-ranking, `evaluate explanations` asks whether
    maps are true.

    Example: lookalike evaluate birds/ --split test --model mini
    """
    if (data is None) == (embeddings is None):
        raise typer.BadParameter("give either DATA (images or a gallery) or --embeddings")
    k_values = parse_ks(ks)
    with friendly_errors():
        inputs = (data, embeddings, labels, query_embeddings, query_labels)
        keep_inputs([file for file in inputs if file is not None], report, out)
        from lookalike.evaluation import embeddings_of_files, evaluate, load_for_evaluation
        from lookalike.reports.evaluation import evaluation_report

        source = data if embeddings is None else embeddings_of_files(embeddings, labels)
        assert source is not None
        options = {
            "pooling": pooling, "input_size": parse_size(input_size), "normalization": normalization,
            "mean_image": mean_image,
            "whitening": whitening,
            "heads": heads,
            "precision": precision,
            "output": output_name,
        }  # fmt: skip
        changes = {name: value for name, value in options.items() if value is not None}
        queries = None if query_embeddings is None else embeddings_of_files(query_embeddings, query_labels)
        with shown_progress() as progress:
            evaluation = evaluate(
                source,
                load_for_evaluation(model or "mini", **changes) if changes else model,
                queries=queries, split=split, query_split=query_split, layout=layout, field=field,
                ks=k_values, clustering=clustering, seed=seed, limit=limit, workers=workers,
                engine=engine, address=address, progress=progress,
            )  # fmt: skip
        if as_json:
            print_json(evaluation.to_dict())
        else:
            _print_evaluation(evaluation, worst)
        if out is not None:
            from lookalike.evaluation.query_rows import query_rows

            write_rows(out, query_rows(evaluation))
            if not as_json:
                echo(f"wrote {out}")
        if report is not None:  # last: the metrics are printed even if the report can't be written
            write_text(report, evaluation_report(evaluation))
            if not as_json:
                echo(f"wrote {report}")


def _print_evaluation(evaluation: Evaluation, n_worst: int) -> None:
    echo(evaluation.headline)
    print_table(("", "mean", "95 % interval"), evaluation.rows())
    worst = [
        (each.label, str(each.n_queries), f"{each.recall_at_1:.1%}", f"{each.map_at_r:.1%}",
         f"{each.confused_with} ({each.n_confused})" if each.confused_with else "")
        for each in evaluation.classes[:n_worst]
    ]  # fmt: skip
    print_table(("worst classes", "queries", "Recall@1", "MAP@R", "most often confused with"), worst)
    for rule in evaluation.rules:
        echo(rule)
    for path, reason in evaluation.left_out:
        echo(f"left out: {path}: {reason}", err=True)
