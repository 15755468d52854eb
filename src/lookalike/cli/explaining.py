"""Commands on images without a gallery: explain a pair, and the demo."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import AsJson, InputSize, Model, Normalization, Pooling, parse_size
from lookalike.cli.printing import friendly_errors, print_json, print_table, shown_progress
from lookalike.cli.serving import announce, check_web

if TYPE_CHECKING:
    from lookalike.demo import DemoResult

commands = typer.Typer()


@commands.command()
def explain(
    query: Annotated[Path, typer.Argument(help="The query image.")],
    match: Annotated[Path, typer.Argument(help="The image to compare it with.")],
    model: Model = "mini",
    method: Annotated[
        str, typer.Option(help="shares, rollout, rollout-conserving, gradcam, occlusion or avsl.")
    ] = "shares",
    pooling: Pooling = None,
    input_size: InputSize = None,
    normalization: Normalization = None,
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
    lines: Annotated[Path | None, typer.Option(help="Picture of the best matching cells.")] = None,
    versus: Annotated[
        Path | None, typer.Option(metavar="OTHER", help="Draw why MATCH is nearer than this image (to -o).")
    ] = None,
    save_maps: Annotated[
        Path | None, typer.Option(help="File .npz for query_map, match_map, similarity, residual.")
    ] = None,
    colors: Annotated[str, typer.Option(help="lookalike (color-blind-safe) or jet (as in the papers).")] = (
        "lookalike"
    ),
    as_json: AsJson = False,
) -> None:
    """Explain how similar two images are, cell by cell.

    Example: lookalike explain a.jpg b.jpg -o why.png
    """
    if versus is not None and output is None:
        raise typer.BadParameter("it is drawn to a picture: add -o why.png", param_hint="--versus")
    with friendly_errors():
        from lookalike.explainers import load_any, make_explainer
        from lookalike.reports.explanation_files import Outputs, level_lines, write_outputs

        options = {"fusion": fusion, "first_layer": first_layer}
        embedder = load_any(
            model, pooling=pooling, input_size=parse_size(input_size), normalization=normalization
        )
        explainer = make_explainer(
            embedder, method, **{name: value for name, value in options.items() if value is not None}
        )
        result = explainer(query, match)
        outputs = Outputs(output, overlays, lines, save_maps, versus, colors)
        written = write_outputs(result, embedder, outputs)
        if as_json:
            print_json({**result.to_dict(), "written": written})
            return
        residual = f", residual {result.residual:+.4f}" if result.additive else " (a heat map: no residual)"
        typer.echo(f"similarity {result.similarity:.4f} by {result.method} of {result.model}{residual}")
        for line in level_lines(result):
            typer.echo(line)
        for path in written:
            typer.echo(f"wrote {path}")


@commands.command()
def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
        "lookalike-demo"
    ),
    model: Model = "mini",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the rooms.")] = 0,
    serve: Annotated[bool, typer.Option("--serve", help="Then open the gallery in the browser.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="With --serve; 0 takes any free one.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Run the whole pipeline on generated rooms, offline.

    Generates rooms, indexes them, searches, re-ranks and explains the result.

    Example: lookalike demo --serve
    """
    with friendly_errors():
        if serve:
            check_web()
        from lookalike.demo import run_demo

        with shown_progress() as bar:
            result = run_demo(folder, model=model, seed=seed, progress=bar)
        if as_json:
            print_json(dataclasses.asdict(result))
        else:
            _print_demo(result)
        if serve:
            from lookalike.web import serve as serve_galleries

            serve_galleries([str(result.gallery)], port=port, announce=announce)


def _print_demo(result: DemoResult) -> None:
    n = result.n_rooms
    typer.echo(f"{n} rooms are indexed. Which others show the painting of {result.query}?\n")
    rows = [
        (
            search.asked,
            f"{search.best_match} {'(right)' if search.is_true_match else '(wrong)'}",
            ", ".join(str(rank) for rank in search.true_ranks),
            f"{round(search.recall_at_1 * n)} of {n}",
        )
        for search in result.searches
    ]
    print_table(("asked by", "best match", "true ones at", "right over all rooms"), rows)
    typer.echo(f"\nA random order is right for {result.chance * n:.0f} of {n}.")
    if result.density_ratio is not None:
        where = "peaks in" if result.peak_in_shared_painting else "does not peak in"
        typer.echo(
            f"The whole room's map {where} the painting; a pixel there holds "
            f"{result.density_ratio:.1f} times what one elsewhere holds."
        )
    box = ",".join(str(side) for side in result.box)
    room = result.gallery.parent / "rooms" / result.query
    typer.echo(f"Try: lookalike search {room} -g {result.gallery} --box {box}")
    typer.echo(f"wrote {result.report}, {result.picture} and {result.gallery} in {result.seconds:.1f} s")
