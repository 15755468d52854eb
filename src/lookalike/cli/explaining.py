"""Commands on images without a gallery: explain a pair, and the demo."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from lookalike.cli.options import AsJson, InputSize, Model, Normalisation, Pooling, parse_size
from lookalike.cli.printing import friendly_errors, print_json, progress_bar

commands = typer.Typer()


@commands.command()
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

    Example: lookalike explain a.jpg b.jpg -o why.png
    """
    with friendly_errors():
        from lookalike.explainers import load_any, make_explainer
        from lookalike.writing import Outputs, as_numbers, write_outputs

        options = {"fusion": fusion, "first_layer": first_layer}
        embedder = load_any(
            model, pooling=pooling, input_size=parse_size(input_size), normalisation=normalisation
        )
        explainer = make_explainer(
            embedder, method, **{name: value for name, value in options.items() if value is not None}
        )
        result = explainer(query, match)
        outputs = Outputs(output, overlays, lines, save_maps, versus, colours)
        written = write_outputs(result, embedder, query, match, outputs)
        if as_json:
            print_json({**as_numbers(result), "written": written})
            return
        residual = f", residual {result.residual:+.4f}" if result.additive else " (a heat map: no residual)"
        typer.echo(f"similarity {result.similarity:.4f} by {result.method} of {result.model}{residual}")
        for path in written:
            typer.echo(f"wrote {path}")


@commands.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
        "lookalike-demo"
    ),
    model: Model = "mini",
    seed: Annotated[int, typer.Option(min=0, help="Another seed makes other rooms.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make rooms, find the best match of one, and explain it: the whole tool in one command, offline.

    Example: lookalike demo
    """
    with friendly_errors():
        from lookalike.demo import run_demo

        result = run_demo(folder, model=model, seed=seed, progress=progress_bar)
        if as_json:
            print_json(dataclasses.asdict(result))
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
