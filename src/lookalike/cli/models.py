"""``lookalike models``: list models, show their features, and make your own."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lookalike.errors as errors
from lookalike.cli.options import (
    AsJson,
    HeadCount,
    InputSize,
    LearnedWhiteningName,
    LevelsText,
    MaxPixels,
    MeanImage,
    Normalization,
    PoolingName,
    parse_assignments,
    parse_levels,
    parse_scales,
    parse_size,
)
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress

if TYPE_CHECKING:
    from lookalike.explainers.capabilities import Survey
    from lookalike.models.saving import LoadedModel

models = typer.Typer(
    help="List models, show their features, make your own.",
    invoke_without_command=True,
)


@models.callback()
def _models(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@models.command("list")
def list_models(
    pattern: Annotated[str, typer.Argument(help="Part of a model name, or a pattern with *.")] = "",
    as_json: AsJson = False,
) -> None:
    """List bundled, recommended and timm models.

    Example: lookalike models list dinov3
    """
    with friendly_errors():
        from lookalike.models.backbones import model_names
        from lookalike.models.loading import RECOMMENDED, bundled_names
        from lookalike.models.loading import list_models as names_like

        timm_names = model_names(pattern, pretrained=True)
        if as_json:
            print_json({"bundled": bundled_names(), "recommended": RECOMMENDED, "timm": timm_names})
        elif pattern:
            _print_names(pattern, names_like(pattern))
        else:
            echo(f"bundled: {', '.join(bundled_names())}")
            print_table(("recommended", "for"), RECOMMENDED.items())
            echo(
                f"and {len(timm_names)} timm models with pretrained weights: 'lookalike models list PATTERN'"
            )


def _print_names(pattern: str, names: list[str]) -> None:
    if not names:
        raise errors.UnknownModelError(
            f"no bundled or timm model matches {pattern!r}; try a shorter part of the name"
        )
    for name in names:
        echo(name)


@models.command("show")
def show_model(
    model: Annotated[
        str, typer.Argument(help="mini, a timm name, hf-hub:owner/name, a saved folder or a checkpoint.")
    ],
    pooling: PoolingName = None,
    input_size: InputSize = None,
    mean_image: MeanImage = None,
    whitening: LearnedWhiteningName = None,
    heads: HeadCount = None,
    random_weights: Annotated[bool, typer.Option(help="Don't download the weights of a timm model.")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a model's grid, pooling and explanation methods.

    Example: lookalike models show resnet50 --random-weights
    """
    with friendly_errors():
        from lookalike.explainers.capabilities import survey
        from lookalike.models.embedder import Embedder

        if random_weights:
            size = parse_size(input_size)
            embedder = Embedder.from_timm(model, pretrained=False, pooling=pooling, input_size=size)
        else:
            embedder = Embedder.load(
                model,
                pooling=pooling,
                input_size=parse_size(input_size),
                mean_image=mean_image,
                whitening=whitening,
                heads=heads,
            )
        result = survey(embedder)
        if as_json:
            print_json(dataclasses.asdict(result))
        else:
            _print_survey(result)


def _print_survey(result: Survey) -> None:
    grid = "none" if result.grid is None else f"{result.grid[0]} x {result.grid[1]}"
    echo(
        f"{result.model}: input {result.input_size[0]} x {result.input_size[1]}, grid {grid}, "
        f"pooling {result.pooling}, {result.width} dimensions, {result.n_parameters:,} parameters"
    )
    if len(result.scales) > 1:
        typer.echo(f"embeddings at {len(result.scales)} scales are merged")
    if result.whitening:
        echo(f"whitening {result.whitening}")
    elif result.carried_whitenings:
        typer.echo(f"no whitening; the file carries {', '.join(result.carried_whitenings)} (--whitening)")
    rows = [(name, answer.refusal or "yes") for name, answer in result.methods.items()]
    print_table(("method", "supported"), rows)


@models.command("make")
def make_model(
    model: Annotated[
        str, typer.Argument(help="mini, a timm name, hf-hub:owner/name, a saved folder or a checkpoint.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder to write; other commands take it as --model.")],
    weights: Annotated[
        Path | None,
        typer.Option(
            help="Weights instead of timm's: .safetensors, or a state_dict or checkpoint (.pth, .pt, .ckpt)."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Option of timm.create_model; can be repeated."),
    ] = None,
    random_weights: Annotated[
        bool, typer.Option("--random-weights", help="Use random weights, to try out a timm name.")
    ] = False,
    pooling: PoolingName = None,
    input_size: InputSize = None,
    normalization: Normalization = None,
    mean_image: MeanImage = None,
    whitening: LearnedWhiteningName = None,
    heads: HeadCount = None,
    squash: Annotated[
        bool, typer.Option("--squash", help="Resize images to the input size instead of cropping the center.")
    ] = False,
    levels: LevelsText = None,
    max_pixels: MaxPixels = None,
    set_aside: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Subtract what the images in DIR have in common.")
    ] = None,
    whiten_on: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Learn a whitening from the images in DIR.")
    ] = None,
) -> None:
    """Make a model of your own and save it.

    Changes the weights, pooling, input size, preprocessing or whitening of a model.

    Example: lookalike models make mobilenetv2_100 mobilenet/ --weights w.safetensors --set pad_type=same
    """
    with friendly_errors():
        from lookalike.images import list_images
        from lookalike.models.embedder import Embedder
        from lookalike.models.loading import with_preprocessing

        options = parse_assignments(option or [])
        changes = {"mean_image": mean_image, "whitening": whitening, "heads": heads}
        loaded = _loaded(model, weights, random_weights, pooling, parse_size(input_size), options, changes)
        embedder = Embedder.of(with_preprocessing(loaded, normalization=normalization, squash=squash))
        embedder = embedder.with_levels(parse_levels(levels) or embedder.preprocessing.levels)
        if set_aside is not None:
            embedder = embedder.setting_aside(list_images(set_aside))
        if whiten_on is not None:
            embedder = embedder.whitened(list_images(whiten_on))
        embedder.save(folder)
        echo(f"wrote {folder}; use it with: --model {folder}")


@models.command("whiten")
def whiten_model(
    model: Annotated[
        str, typer.Argument(help="mini, a timm name, hf-hub:owner/name, a saved folder or a checkpoint.")
    ],
    folder: Annotated[Path, typer.Argument(help="Folder to write; other commands take it as --model.")],
    pairs: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Learn from pairs of one thing: a table with columns query and match, or the published "
            "SET-whiten.pkl (with --images).",
        ),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Learn by PCA from these images; for a .pkl, where its images lie."),
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Number of dimensions to keep.")] = None,
    scales: Annotated[
        str | None, typer.Option(metavar="S,S,...", help="Image scales, such as 1,0.707,0.5.")
    ] = None,
    pooling: PoolingName = None,
    input_size: InputSize = None,
) -> None:
    """Learn a whitening, and save the model with it.

    From pairs of images of one thing (Mikolajczyk and Matas, as in retrieval networks of TPAMI 2019), or by
    PCA from images alone. It comes after the merging of scales, and the maps still sum to the similarity.

    Example: lookalike models whiten resnet50 whitened/ --pairs pairs.csv
    """
    if pairs is None and images is None:
        raise typer.BadParameter("give --pairs FILE, or --images DIR to learn without pairs")
    with friendly_errors(), shown_progress() as progress:
        from lookalike.datasets.whitening_pairs import read_whitening_pairs
        from lookalike.images import list_images
        from lookalike.models.embedder import Embedder
        from lookalike.models.whitened import at_scales, whitened_by_components, whitened_by_pairs

        embedder = Embedder.load(model, pooling=pooling, input_size=parse_size(input_size))
        factors = parse_scales(scales)
        if factors is not None:
            embedder = at_scales(embedder, factors)
        if pairs is None:
            assert images is not None
            whitened = whitened_by_components(
                embedder,
                list_images(images),
                width=width,
                learned_on=images.resolve().name,
                progress=progress,
            )
        else:
            learned_from = read_whitening_pairs(pairs, images)
            whitened = whitened_by_pairs(
                embedder,
                learned_from.images,
                learned_from.queries,
                learned_from.positives,
                width=width,
                learned_on=learned_from.name,
                progress=progress,
            )
        whitened.save(folder)
    echo(f"whitening {whitened.whitening}")
    echo(f"wrote {folder}; use it with: --model {folder}")


def _loaded(
    model: str,
    weights: Path | None,
    random_weights: bool,
    pooling: str | None,
    input_size: tuple[int, int] | None,
    options: dict[str, Any],
    of_checkpoints: dict[str, Any],
) -> LoadedModel:
    """Load a model by name, or a timm architecture with weights or options of its own."""
    from lookalike.models.loading import from_timm, load_model

    if not (weights or options or random_weights):
        return load_model(model, pooling=pooling, input_size=input_size, **of_checkpoints)
    return from_timm(
        model,
        pretrained=not random_weights,
        weights=weights,
        pooling=pooling,
        input_size=input_size,
        **options,
    )
