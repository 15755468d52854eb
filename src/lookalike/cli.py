"""The command line: read arguments, call the library, print or save.

torch and timm are imported inside the commands, so that ``lookalike --help`` answers at once.
"""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

import lookalike.errors as errors

app = typer.Typer(
    name="lookalike",
    help="Find the images that match, rank them better, and see why.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
models = typer.Typer(
    help="Which models there are, what they support, and making one of your own.",
    invoke_without_command=True,
)
app.add_typer(models, name="models")

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Model = Annotated[
    str,
    typer.Option(help="mini, any timm name, hf-hub:owner/name, a saved folder, a checkpoint, an .onnx file."),
]
Pooling = Annotated[
    str | None, typer.Option(help="Instead of the model's own: mean, max, gem, avgmax, rmac or cls.")
]
InputSize = Annotated[
    str | None,
    typer.Option(metavar="H[xW]", help="Input pixels instead of the model's own, e.g. 320 or 240x320."),
]
Normalisation = Annotated[
    str | None,
    typer.Option(
        metavar="imagenet|sop|MEAN/STD",
        help="For checkpoints that don't say theirs, e.g. sop or 0.5,0.5,0.5/0.5,0.5,0.5.",
    ),
]


def main() -> None:
    """Entry point of the ``lookalike`` command."""
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # retries are not news, their end is
    app()


@app.callback()
def _version(
    version: Annotated[bool, typer.Option("--version", is_eager=True, help="Print the version.")] = False,
) -> None:
    if version:
        from lookalike import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def explain(
    query: Annotated[Path, typer.Argument(help="The image in question.")],
    match: Annotated[Path, typer.Argument(help="The image it is said to match.")],
    model: Model = "mini",
    method: Annotated[
        str, typer.Option(help="shares, rollout, rollout-conserving, gradcam or occlusion.")
    ] = "shares",
    pooling: Pooling = None,
    input_size: InputSize = None,
    normalisation: Normalisation = None,
    fusion: Annotated[
        str | None, typer.Option(help="rollout: fuse attention heads by mean, min or max.")
    ] = None,
    first_layer: Annotated[
        int | None, typer.Option(min=0, help="rollout: the first layer to roll attention over.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Picture of both images and their maps.")
    ] = None,
    overlays: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for each side alone, A_simmap_with_B.png.")
    ] = None,
    lines: Annotated[Path | None, typer.Option(help="Picture of the best matching places.")] = None,
    versus: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="Draw why MATCH is nearer than this image (to -o).")
    ] = None,
    save_maps: Annotated[
        Path | None, typer.Option(help="File .npz for query_map, match_map, similarity, residual.")
    ] = None,
    colours: Annotated[str, typer.Option(help="lookalike (colour-blind-safe) or jet (as in the papers).")] = (
        "lookalike"
    ),
    as_json: AsJson = False,
) -> None:
    """Say why two images match: how similar they are, and which places make it so.

    Example: `lookalike explain a.jpg b.jpg -o why.png`
    """
    with friendly_errors():
        from lookalike.explainers import load_any, make_explainer
        from lookalike.writing import Outputs, as_numbers, write_outputs

        options = {"fusion": fusion, "first_layer": first_layer}
        embedder = load_any(model, pooling=pooling, input_size=_size(input_size), normalisation=normalisation)
        explainer = make_explainer(
            embedder, method, **{name: value for name, value in options.items() if value is not None}
        )
        result = explainer(query, match)
        outputs = Outputs(output, overlays, lines, save_maps, versus, colours)
        written = write_outputs(result, embedder, query, match, outputs)
        if as_json:
            _print_json({**as_numbers(result), "written": written})
            return
        residual = f", residual {result.residual:+.4f}" if result.additive else " (a heat map: no residual)"
        typer.echo(f"similarity {result.similarity:.4f} by {result.method} of {result.model}{residual}")
        for path in written:
            typer.echo(f"wrote {path}")


@app.command()
def rerank(
    queries: Annotated[Path, typer.Option(help="One row a query: .npy, .npz, .safetensors or .pt.")],
    gallery: Annotated[Path, typer.Option(help="One row an item, from the same model.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="File .npz for ranks (G, Q), indices (Q, K), scores (Q, K)."),
    ],
    method: Annotated[
        str, typer.Option(help="aqe, dba, k-reciprocal or diffusion; several joined by +, e.g. dba+aqe.")
    ] = "aqe",
    k: Annotated[
        int, typer.Option("-k", min=1, help="Re-rank this many; the whole gallery if it has fewer.")
    ] = 1024,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="NAME=VALUE", help="An option of the method; may be given several times."
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Rank and re-rank your own embeddings; cosines, so rows need no unit length.

    Of each column of ranks the first K are re-ranked, the rest keep the order of their cosines.
    Ranks of more than 268 million numbers are left out. A query that is in the gallery finds itself.

    Example: `lookalike rerank --queries q.npy --gallery g.npy --method dba+aqe --set n=5 -o ranks.npz`
    """
    with friendly_errors():
        from lookalike.rerankers import rerank_files

        result = rerank_files(queries, gallery, output, method=method, k=k, **_options(option or []))
        if as_json:
            _print_json(dataclasses.asdict(result))
            return
        without = "" if result.has_ranks else ", without ranks: too many"
        typer.echo(
            f"re-ranked the first {result.k} of {result.n_gallery} for {result.n_queries} queries "
            f"by {result.method}; wrote {result.written}{without}"
        )


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
        "lookalike-demo"
    ),
    model: Model = "mini",
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other rooms.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make rooms, find the best match of one, and explain it: the whole tool in one command, offline.

    Example: `lookalike demo`
    """
    with friendly_errors():
        from lookalike.demo import run_demo

        result = run_demo(folder, model=model, seed=seed, progress=_progress)
        if as_json:
            _print_json(dataclasses.asdict(result))
            return
        right = (
            "rightly: both show the same painting"
            if result.is_true_match
            else "wrongly: their paintings differ"
        )
        typer.echo(f"{result.query} of {result.n_rooms} rooms is most similar to {result.best_match}")
        typer.echo(f"(similarity {result.similarity:.3f}), {right}.")
        if result.density_ratio is not None:
            where = "in" if result.peak_in_shared_painting else "not in"
            typer.echo(
                f"The map peaks {where} that painting; a pixel there holds {result.density_ratio:.1f} times"
            )
            typer.echo("the similarity of a pixel elsewhere.")
        typer.echo(f"Asking all {result.n_rooms} rooms, {result.recall_at_1:.0%} find their painting first ")
        typer.echo(f"({result.chance:.0%} by chance): it is a small part of a room.")
        typer.echo(f"wrote {result.report} and {result.picture} in {result.seconds:.1f} s")


@models.callback()
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@models.command("list")
def list_models(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or a pattern with *.")] = "",
    as_json: AsJson = False,
) -> None:
    """List the bundled models, those we recommend, and timm's.

    Example: `lookalike models list dinov3`
    """
    with friendly_errors():
        from lookalike.backbones import model_names
        from lookalike.loading import RECOMMENDED, bundled_names

        timm_names = model_names(pattern, pretrained=True)
        if as_json:
            _print_json({"bundled": bundled_names(), "recommended": RECOMMENDED, "timm": timm_names})
            return
        if not pattern:
            typer.echo(f"bundled: {', '.join(bundled_names())}")
            _print_table(("recommended", "for"), RECOMMENDED.items())
            typer.echo(
                f"and {len(timm_names)} of timm with pretrained weights: 'lookalike models list PATTERN'"
            )
            return
        for name in timm_names:
            typer.echo(name)
        if not timm_names:
            raise errors.UnknownModelError(
                f"timm has no pretrained model like {pattern!r}; try a shorter part"
            )


@models.command("show")
def show_model(
    model: Annotated[str, typer.Argument(help="A model as in --model of other commands.")],
    pooling: Pooling = None,
    input_size: InputSize = None,
    random_weights: Annotated[
        bool, typer.Option(help="Don't fetch a timm model's weights; enough to see what it supports.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Show a model's grid and pooling, and which methods explain it.

    Example: `lookalike models show resnet50 --random-weights`
    """
    with friendly_errors():
        from lookalike.embedder import Embedder
        from lookalike.survey import survey

        if random_weights:
            size = _size(input_size)
            embedder = Embedder.from_timm(model, pretrained=False, pooling=pooling or "own", input_size=size)
        else:
            embedder = Embedder.load(model, pooling=pooling, input_size=_size(input_size))
        result = survey(embedder)
        if as_json:
            _print_json(dataclasses.asdict(result))
            return
        grid = "none" if result.grid is None else f"{result.grid[0]} x {result.grid[1]}"
        typer.echo(f"{result.model}: input {result.input_size[0]} x {result.input_size[1]}, grid {grid}, ")
        typer.echo(f"pooling {result.pooling}, {result.width} dimensions, {result.n_parameters:,} parameters")
        rows = [(name, answer.refusal or "yes") for name, answer in result.methods.items()]
        _print_table(("method", "explains it"), rows)


@models.command("make")
def make_model(
    model: Annotated[str, typer.Argument(help="A model as in --model of other commands.")],
    folder: Annotated[Path, typer.Argument(help="Folder to write, for --model of other commands.")],
    weights: Annotated[
        Path | None, typer.Option(help="A safetensors file for the timm name, instead of timm's weights.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", metavar="NAME=VALUE", help="An option of timm.create_model.")
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Random weights, for trying a timm name out.")
    ] = False,
    pooling: Pooling = None,
    input_size: InputSize = None,
    normalisation: Normalisation = None,
    squash: Annotated[
        bool, typer.Option("--squash", help="Squash images to the input instead of cutting the centre.")
    ] = False,
    set_aside: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Set aside what the images there have in common.")
    ] = None,
    whiten_on: Annotated[Path | None, typer.Option(metavar="DIR", help="Whiten by the images there.")] = None,
) -> None:
    """Make an embedder of your own and save it: other weights, pooling, input, whitening.

    Example: `lookalike models make mobilenetv2_100 mobilenet/ --weights w.safetensors --set pad_type=same`
    """
    with friendly_errors():
        from lookalike.embedder import Embedder
        from lookalike.images import list_images
        from lookalike.loading import from_timm, load_model, with_preprocessing

        size = _size(input_size)
        if weights or option or random_weights:
            made = from_timm(
                model,
                pretrained=not random_weights,
                weights=weights,
                pooling=pooling or "own",
                input_size=size,
                **_options(option or []),
            )
        else:
            made = load_model(model, pooling=pooling, input_size=size)
        embedder = Embedder.of(with_preprocessing(made, normalisation=normalisation, squash=squash))
        if set_aside is not None:
            embedder = embedder.setting_aside(list_images(set_aside))
        if whiten_on is not None:
            embedder = embedder.whitened(list_images(whiten_on))
        embedder.save(folder)
        typer.echo(f"wrote {folder}: use it as --model {folder}")


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Known errors become one sentence on stderr and exit code 1."""
    try:
        yield
    except (errors.LookalikeError, ValueError) as error:
        typer.echo(f"lookalike: {error}", err=True)
        raise typer.Exit(1) from error


def _size(text: str | None) -> tuple[int, int] | None:
    """(H, W) from ``320`` or ``240x320``."""
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isdigit() and int(side) > 0 for side in sides):
        raise typer.BadParameter(f"an input size is H or HxW in pixels, e.g. 320 or 240x320; got {text!r}")
    return int(sides[0]), int(sides[-1])


def _options(assignments: Iterable[str]) -> dict[str, Any]:
    options: dict[str, Any] = {}
    for assignment in assignments:
        name, equals, value = assignment.partition("=")
        if not equals:
            raise typer.BadParameter(f"--set takes NAME=VALUE, got {assignment!r}")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


def _progress(items: Iterable[int], what: str, count: int) -> Iterator[int]:
    """Items with a progress bar on stderr: done, rate, remaining time."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=count, rate="")
        for item in items:
            yield item
            speed = bar.tasks[task].speed
            bar.update(task, advance=1, rate=f"{speed:.0f}/s" if speed else "")


def _print_table(header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> None:
    table = Table(*header, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*row)
    Console(soft_wrap=True).print(table)


def _print_json(value: Mapping[str, Any]) -> None:
    typer.echo(json.dumps(value, indent=2, default=str))
