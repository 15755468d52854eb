"""The command that learns a similarity from labeled images: ``train``."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lookalike.errors as errors
from lookalike.cli.options import AsJson, InputSize, Pooling, parse_assignments, parse_size
from lookalike.cli.printing import counting_bar, friendly_errors, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from lookalike.cli.printing import ShowCounted
    from lookalike.datasets import LabeledImages
    from lookalike.training import ModelSpec, TrainProgress, TrainSettings

commands = typer.Typer()

# Settings that have no option of their own; tested to be what TrainSettings has beside those below.
OTHER_SETTINGS = (
    "optimizer", "weight_decay", "step_epochs", "step_factor", "frozen", "freeze_batch_norm", "clip",
    "crop_pct", "crop_area", "flip",
)  # fmt: skip
AVSL_SETTINGS = (
    "level_weights", "positive_margin", "negative_margin", "final_positive_margin", "final_negative_margin",
    "loss_sharpness", "margin", "boundary", "cutoff", "top_k", "sharpness", "power", "momentum", "levels",
)  # fmt: skip
PRESET_HELP = (
    "Published settings of AVSL: cub200-resnet50, cars196-resnet50 or sop-resnet50. Their other backbone, "
    "BN-Inception, is not in timm; cub200-inception, cars196-inception and sop-inception take inception_v3."
)
_NEEDED = ("lightning", "pytorch_metric_learning")

Whole = Annotated[int | None, typer.Option(min=0)]
Rate = Annotated[float | None, typer.Option(min=0.0)]


@commands.command()
def train(
    data: Annotated[Path, typer.Argument(help="Labeled images: class folders and other layouts.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder, for --model of other commands.")],
    model: Annotated[
        str | None, typer.Option(help="Start: mini (the default), any timm name, a folder, a checkpoint.")
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="proxy-anchor (the default), proxy-nca++, multi-similarity, triplet, margin, contrastive, "
            "supcon, soft-triple or arcface."
        ),
    ] = None,
    avsl: Annotated[
        bool,
        typer.Option(
            "--avsl", help="Nodes at three levels, joined by a graph; --loss proxy-anchor or margin."
        ),
    ] = False,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    dims: Annotated[
        int | None, typer.Option(min=0, help="Of the embedding, 512 by default; 0: the model's own.")
    ] = None,
    pooling: Pooling = None,
    split: Annotated[
        str | None, typer.Option(help="Of DATA, to learn from; train where there is one.")
    ] = None,
    evaluate_on: Annotated[
        str | None,
        typer.Option(help="Split of DATA, or other data, to evaluate on; test or val where there is one."),
    ] = None,
    layout: Annotated[str, typer.Option(help="Of DATA; auto looks at the files.")] = "auto",
    epochs: Whole = None,
    batch_size: Whole = None,
    images_per_class: Annotated[
        int | None, typer.Option(min=0, help="In a batch, of each class drawn; 0 draws images.")
    ] = None,
    backbone_rate: Rate = None,
    head_rate: Rate = None,
    loss_rate: Rate = None,
    schedule: Annotated[str | None, typer.Option(help="constant, step or cosine.")] = None,
    warm_up_epochs: Annotated[
        int | None, typer.Option(min=0, help="First epochs, in which the backbone stands still.")
    ] = None,
    memory: Annotated[
        int | None, typer.Option(min=0, help="Embeddings of past batches that pair losses compare with.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    input_size: InputSize = None,
    evaluate_every: Annotated[int | None, typer.Option(min=0, help="Epochs; 0: only at the end.")] = None,
    seed: Whole = None,
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"Another setting: {', '.join(OTHER_SETTINGS)}; with "
            f"--avsl also {', '.join(AVSL_SETTINGS)}.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Go on with the training in OUT, with its settings.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="Processes; each takes its part of the batch.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Processes that decode images; 0 decodes here.")] = 0,
    keep_images: Annotated[bool, typer.Option(help="Keep decoded images in memory.")] = True,
    checkpoint_every: Annotated[int, typer.Option(min=1, help="Steps.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Learn a similarity from labeled images.

    Writes a model that every command takes. Killed or interrupted, it goes on with --resume from its
    last checkpoint as if nothing had been.

    Example: lookalike train birds/ --model mini --loss proxy-anchor -o trained/

    Example: lookalike train cub200/ --avsl --preset cub200-resnet50 -o trained/
    """
    with friendly_errors():
        _check_extra()
        from lookalike.reports.plots.training import training_curve
        from lookalike.training import RuntimeOptions, TrainSettings, fit, recorded

        spec, settings = recorded(out) if resume else _beginning(preset, avsl)
        if resume and (preset is not None or (avsl and spec.avsl is None)):
            raise ValueError("--preset and --avsl begin a training; leave them out with --resume")
        named = parse_assignments(others or [])
        names = {"model": model, "loss": loss, "dims": dims, "pooling": pooling}
        spec = _changed(spec, _given(names), named)
        options = {
            "epochs": epochs, "batch_size": batch_size, "images_per_class": images_per_class,
            "backbone_rate": backbone_rate, "head_rate": head_rate, "loss_rate": loss_rate,
            "schedule": schedule, "warm_up_epochs": warm_up_epochs, "memory": memory, "precision": precision,
            "input_size": parse_size(input_size), "evaluate_every": evaluate_every, "seed": seed,
        }  # fmt: skip
        changes = {k: v for k, v in named.items() if k not in AVSL_SETTINGS} | _given(options)
        if spec.compares_images and not resume:
            changes = {"images_per_class": 4} | changes  # so it needs some of each class
        settings = TrainSettings.from_dict(settings.to_dict() | changes)
        images, validation = _read(data, split, evaluate_on, layout)
        network, objective = spec.build(len(images.classes), settings)
        with counting_bar("training") as show:
            metrics = fit(
                network,
                objective,
                images,
                settings,
                out=out,
                validation=validation,
                description=spec.to_dict(),
                resume=resume,
                runtime=RuntimeOptions(
                    devices=devices,
                    accelerator=device,
                    workers=workers,
                    keep_pictures=keep_images,
                    checkpoint_every=checkpoint_every,
                    on_progress=_shown(show),
                    on_reading=lambda done, total: show(_Read(done, total), "reading images"),
                ),
            )
        training_curve(out / "log.csv", out / "curve.png")
        if as_json:
            print_json({"model": str(out), "metrics": metrics, "settings": settings.to_dict()})
        else:
            typer.echo(f"wrote {out}: use it as --model {out}")


def _beginning(preset_name: str | None, avsl: bool) -> tuple[ModelSpec, TrainSettings]:
    """What is trained, and how, before other options change it."""
    from lookalike.training import AvslSettings, ModelSpec, TrainSettings, preset

    if preset_name is None:
        return ModelSpec(avsl=AvslSettings() if avsl else None), TrainSettings()
    chosen = preset(preset_name)
    return ModelSpec(model=chosen.model, dims=chosen.dims, avsl=chosen.avsl), chosen.settings


def _changed(spec: ModelSpec, changes: dict[str, Any], named: dict[str, Any]) -> ModelSpec:
    """The spec with other names, and AVSL's own settings from ``--set`` and ``--loss``."""
    from lookalike.training import AvslSettings

    of_avsl = {name: value for name, value in named.items() if name in AVSL_SETTINGS}
    if spec.avsl is None:
        if of_avsl:
            raise ValueError(f"{', '.join(of_avsl)} are settings of AVSL; add --avsl or --preset")
        return dataclasses.replace(spec, **changes)
    if "loss" in changes:
        of_avsl["base"] = changes["loss"]
    return dataclasses.replace(spec, **changes, avsl=AvslSettings.from_dict(spec.avsl.to_dict() | of_avsl))


def _read(
    data: Path, split: str | None, evaluate_on: str | None, layout: str
) -> tuple[LabeledImages, LabeledImages | None]:
    """What is learned from, and what it is judged by if there is any."""
    from lookalike.datasets import read_dataset, splits_of

    splits = splits_of(data, layout)
    if split is None and "train" in splits:
        split = "train"
    train = read_dataset(data, split, layout)
    if evaluate_on is None:
        evaluate_on = next((name for name in ("test", "val") if name in splits and name != split), None)
    if evaluate_on is None:
        return train, None
    if evaluate_on in splits:
        return train, read_dataset(data, evaluate_on, layout)
    return train, read_dataset(evaluate_on)


@dataclasses.dataclass(frozen=True)
class _Read:
    """How many images are read."""

    done: int
    total: int
    rate: float = 0.0
    remaining: float | None = None


def _shown(show: ShowCounted) -> Callable[[TrainProgress], None]:
    """Move the bar, and print metrics when there are some."""

    def report(progress: TrainProgress) -> None:
        show(progress)
        if progress.metrics:
            metrics = ", ".join(f"{name} {value:.4f}" for name, value in progress.metrics.items())
            typer.echo(f"epoch {progress.epoch}: loss {progress.loss:.4f}, {metrics}", err=True)

    return report


def _given(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _check_extra() -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise errors.TrainingError(
            f"training needs {' and '.join(missing)}; install them with: pip install 'lookalike[train]'"
        )
