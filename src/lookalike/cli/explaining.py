"""``lookalike explain`` and ``lookalike demo``."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lookalike.cli.options import (
    AsJson,
    HeadCount,
    InputSize,
    LearnedWhiteningName,
    LevelsText,
    MaxPixels,
    MeanImage,
    Model,
    Normalization,
    OutputName,
    PoolingName,
    keep_inputs,
    parse_levels,
    parse_size,
)
from lookalike.cli.printing import (
    echo,
    friendly_errors,
    print_json,
    print_table,
    seconds_since_begin,
    shown_progress,
)
from lookalike.cli.serving import announce, check_web

if TYPE_CHECKING:
    from lookalike.demo import DemoResult
    from lookalike.explainers import EmbedsImages
    from lookalike.models.embedder import Embedder
    from lookalike.types import Explanation


def explain(
    query: Annotated[Path, typer.Argument(help="The query image.")],
    match: Annotated[
        Path | None, typer.Argument(help="The image to compare it with; left out with --text.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(metavar="WORDS", help="Explain where the image answers these words, one by one."),
    ] = None,
    model: Model = "mini",
    method: Annotated[
        str,
        typer.Option(
            help="Explanation method: shares, rollout, rollout-conserving, gradcam, gradient-input, "
            "integrated-gradients, legrad, leave-tokens-out, occlusion, leave-one-out, rise, transport, "
            "avsl, or geometry: is it the same thing, by points that one transformation carries over?"
        ),
    ] = "shares",
    pooling: PoolingName = None,
    input_size: InputSize = None,
    normalization: Normalization = None,
    output_name: OutputName = None,
    levels: LevelsText = None,
    max_pixels: MaxPixels = None,
    mean_image: MeanImage = None,
    whitening: LearnedWhiteningName = None,
    heads: HeadCount = None,
    batch_statistics: Annotated[
        str | None,
        typer.Option(
            metavar="pair",
            help="Normalize batches by the two images' own statistics, as the WACV 2019 demo did.",
        ),
    ] = None,
    fusion: Annotated[
        str | None, typer.Option(help="For rollout: how to fuse attention heads (mean, min or max).")
    ] = None,
    first_layer: Annotated[
        int | None, typer.Option(min=0, help="For rollout: first layer of the rollout.")
    ] = None,
    layer: Annotated[
        str | None,
        typer.Option(
            help="For shares: the block or stage to split at, from 0 or back from -1, or last; "
            "by default the mean of last and of an account against both references."
        ),
    ] = None,
    reference: Annotated[
        str | None,
        typer.Option(
            metavar="none|mean|blur|both",
            help="For shares: compare the image with its mean color, with a blur, or with both.",
        ),
    ] = None,
    with_last: Annotated[
        bool,
        typer.Option("--with-last", help="For shares with --reference: average with the last layer."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Image file to write, with both images and their maps."),
    ] = None,
    overlays: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Folder to write each image with its map to, as A_simmap_with_B.png."
        ),
    ] = None,
    lines: Annotated[
        Path | None, typer.Option(help="Image file to write, with lines between the best matching cells.")
    ] = None,
    versus: Annotated[
        Path | None,
        typer.Option(metavar="OTHER", help="Explain why MATCH is more similar than this image; drawn to -o."),
    ] = None,
    save_maps: Annotated[
        Path | None, typer.Option(help=".npz file to write: query_map, match_map, similarity, residual.")
    ] = None,
    colors: Annotated[
        str,
        typer.Option(
            help="lookalike (color-blind safe), or jet for the look of the papers: gray photo, colors added "
            "to it, each map by its own range."
        ),
    ] = "lookalike",
    as_json: AsJson = False,
) -> None:
    """Explain the similarity of images, or of words.

    Prints the cosine similarity of their embeddings, and draws how much each cell of both contributes.

    Example: lookalike explain a.jpg b.jpg -o why.png
    """
    if (match is None) == (text is None):
        raise typer.BadParameter("give two images, or one image and --text WORDS")
    if text is not None and (method != "shares" or lines or versus or batch_statistics or overlays):
        raise typer.BadParameter(
            "is explained by method shares, with -o and --save-maps", param_hint="--text"
        )
    if versus is not None and output is None:
        raise typer.BadParameter("needs an image file to draw to; add -o why.png", param_hint="--versus")
    if batch_statistics not in (None, "pair"):
        raise typer.BadParameter("is 'pair', or left out", param_hint="--batch-statistics")
    with friendly_errors():
        from lookalike.explainers import load_any, make_explainer
        from lookalike.reports.explanation_files import Outputs, write_outputs

        keep_inputs([each for each in (query, match, versus) if each], output, lines, save_maps)
        chosen = {
            "fusion": fusion, "first_layer": first_layer, "layer": layer, "reference": reference,
            "with_last": with_last or None,
        }  # fmt: skip
        options = {name: value for name, value in chosen.items() if value is not None}
        embedder = load_any(
            model,
            pooling=pooling,
            input_size=parse_size(input_size),
            normalization=normalization,
            levels=parse_levels(levels),
            output=output_name,
            mean_image=mean_image,
            whitening=whitening,
            heads=heads,
        )
        if batch_statistics and match is not None:
            embedder = _with_statistics_of(embedder, query, match)
        if method == "geometry" and match is not None:
            _verify(query, match, embedder, output or lines, as_json)
            return
        if match is not None:
            result: Explanation = make_explainer(embedder, method, **options)(query, match)
        else:
            result = _explained_in_words(query, text or "", embedder, options)
        written = write_outputs(result, embedder, Outputs(output, overlays, lines, save_maps, versus, colors))
        if as_json:
            print_json({**result.to_dict(), "written": written})
        else:
            _print_explanation(result, written)


def _with_statistics_of(embedder: Embedder | EmbedsImages, query: Path, match: Path) -> Embedder:
    """The model with BatchNorm statistics of the two images, as some published pictures were made."""
    from lookalike.errors import UnsupportedMethodError
    from lookalike.models.embedder import Embedder

    if not isinstance(embedder, Embedder):
        raise UnsupportedMethodError(f"{embedder.name} only returns embeddings; leave batch statistics out")
    return embedder.with_batch_statistics([query, match])


def _explained_in_words(
    query: Path, text: str, embedder: Embedder | EmbedsImages, options: Mapping[str, Any]
) -> Explanation:
    from lookalike.errors import UnsupportedMethodError
    from lookalike.explainers.words import explain_text

    unknown = [name for name in options if name != "layer"]
    if unknown:
        raise UnsupportedMethodError(f"words are explained without {', '.join(unknown)}; leave it out")
    return explain_text(query, text, model=embedder, layer=options.get("layer"))


def _verify(
    query: Path, match: Path, embedder: Embedder | EmbedsImages, output: Path | None, as_json: bool
) -> None:
    """Print whether two images match by their geometry, and draw the evidence."""
    from lookalike.explainers import verify
    from lookalike.reports.explanation_files import write_inlier_lines

    found = verify(query, match, model=embedder)
    written = [] if output is None else write_inlier_lines(found, output)
    if as_json:
        print_json({**found.to_dict(), "written": written})
        return
    evidence = found.verification
    how = f"by one {evidence.kind}{', mirrored' if evidence.mirrored else ''}" if evidence.kind else "found"
    echo(
        f"probability {found.probability:z.2f}: similarity {found.similarity:z.4f} of {found.model}, "
        f"{evidence.n_inliers} inliers {how} (of {evidence.n_tentative} pairs of "
        f"{'local features' if evidence.source == 'sift' else 'cells'})"
    )
    for path in written:
        echo(f"wrote {path}")


def _print_explanation(result: Explanation, written: list[Path]) -> None:
    from lookalike.reports.explanation_files import level_lines, part_lines
    from lookalike.types import TextExplanation

    residual = f", residual {result.residual:+z.4f}" if result.additive else " (a heat map: no residual)"
    parts = f" ({result.query.residual_words})" if result.query.residual_words else ""
    if isinstance(result, TextExplanation):  # of the image: that of the words follows
        residual = f", residual {result.match_residual:+z.4f}"
        parts = f" ({result.match.residual_words})" if result.match.residual_words else ""
    form = f" ({result.form})" if result.form else ""
    echo(f"similarity {result.similarity:z.4f} by {result.method}{form} of {result.model}{residual}{parts}")
    for line in [*level_lines(result), *part_lines(result)]:
        echo(line)
    for path in written:
        echo(f"wrote {path}")


def demo(
    folder: Annotated[Path, typer.Option("--output", "-o", help="Folder to write to.")] = Path(
        "lookalike-demo"
    ),
    model: Model = "mini",
    seed: Annotated[int, typer.Option(min=0, help="Random seed of the generated rooms.")] = 0,
    serve: Annotated[
        bool, typer.Option("--serve", help="Serve the gallery in the browser afterward.")
    ] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port for --serve; 0 picks a free one.")] = 8000,
    as_json: AsJson = False,
) -> None:
    """Run a complete example, offline.

    Generates pictures of rooms, indexes them, searches, re-ranks, and writes a report that explains the
    matches.

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
    echo(f"{n} rooms indexed. Which others show the painting in {result.query}?")
    echo("(A room where the box helps; the last column counts all.)\n" if result.is_picked else "")
    rows = [
        (
            search.asked,
            f"{search.best_match} {'(correct)' if search.is_true_match else '(wrong)'}",
            ", ".join(str(rank) for rank in search.true_ranks),
            f"{round(search.recall_at_1 * n)} of {n}",
        )
        for search in result.searches
    ]
    print_table(("search by", "best match", "ranks of true matches", "correct over all rooms"), rows)
    echo(f"\nChance level: {result.chance * n:z.0f} of {n} correct.")
    if result.density_ratio is not None:
        where = "peaks in" if result.peak_in_shared_painting else "does not peak in"
        echo(
            f"The map of the best match {where} the painting; a pixel there contributes "
            f"{result.density_ratio:z.1f} times as much as one elsewhere."
        )
    box = ",".join(str(side) for side in result.box)
    room = result.gallery.parent / "rooms" / result.query
    echo(f"Try: lookalike search {room} -g {result.gallery} --box {box}")
    echo(f"wrote {result.report}, {result.picture} and {result.gallery} in {seconds_since_begin():z.1f} s")
