"""``lookalike train``: train a model on labeled images."""

from __future__ import annotations

import dataclasses
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lookalike.errors as errors
from lookalike.cli.options import (
    AsJson,
    InputSize,
    MaxPixels,
    PoolingName,
    parse_assignments,
    parse_ks,
    parse_size,
)
from lookalike.cli.printing import echo, friendly_errors, print_json, shown_progress

if TYPE_CHECKING:
    from lookalike.training import ModelSpec, TrainingResult, TrainSettings
    from lookalike.types import Progress, ProgressCallback

# Settings without an option of their own, for --set; a test compares them with TrainSettings.
TRAIN_SETTINGS = (
    "optimizer", "gate_rate", "weight_decay", "step_epochs", "step_factor", "frozen", "freeze_batch_norm",
    "clip", "crop_pct", "crop_area", "flip", "clustering", "patience", "collapse", "keep_best",
)  # fmt: skip
AVSL_SETTINGS = (
    "level_weights", "positive_margin", "negative_margin", "final_positive_margin", "final_negative_margin",
    "loss_sharpness", "margin", "boundary", "cutoff", "top_k", "sharpness", "power", "momentum", "levels",
)  # fmt: skip
PRESET_HELP = (
    "Published settings of AVSL: DATA-BACKBONE with cub200, cars196 or sop and resnet50 or bninception, such "
    "as cub200-resnet50; with -baseline for Proxy-Anchor alone, -margin for AVSL with the margin loss, and "
    "-margin-baseline for that loss alone."
)
_NEEDED = ("lightning", "pytorch_metric_learning")


def train(
    data: Annotated[Path, typer.Argument(help="Labeled images: class folders or a known dataset layout.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="New folder for the model; other commands take it as --model.")
    ],
    model: Annotated[
        str | None,
        typer.Option(
            help="Model to start from: mini (default), a timm name, a saved folder or a checkpoint."
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="Loss: proxy-anchor (default), proxy-nca++, multi-similarity, triplet, margin, contrastive, "
            "supcon, soft-triple or arcface; or as in AVSL's baselines, proxy-anchor-avsl, "
            "proxy-anchor-avsl-sop or margin-avsl."
        ),
    ] = None,
    avsl: Annotated[
        bool,
        typer.Option(
            "--avsl",
            help="Train AVSL: similarity nodes at three feature levels, joined by a graph; --loss is "
            "proxy-anchor or margin.",
        ),
    ] = False,
    preset: Annotated[str | None, typer.Option(help=PRESET_HELP)] = None,
    dims: Annotated[
        int | None,
        typer.Option(min=0, help="Dimensions of the embedding, 512 by default; 0 keeps the model's."),
    ] = None,
    pooling: PoolingName = None,
    split: Annotated[
        str | None, typer.Option(help="Split of DATA to train on; by default train, if there is one.")
    ] = None,
    evaluate_on: Annotated[
        str | None,
        typer.Option(
            help="Split of DATA, or other data, to evaluate on; by default test or val, if there is one."
        ),
    ] = None,
    layout: Annotated[str, typer.Option(help="Layout of DATA; auto detects it from the files.")] = "auto",
    epochs: Annotated[int | None, typer.Option(min=0, help="Number of epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=0, help="Images per batch.")] = None,
    images_per_class: Annotated[
        int | None,
        typer.Option(min=0, help="Images per class in a batch; 0 draws images regardless of class."),
    ] = None,
    backbone_rate: Annotated[float | None, typer.Option(min=0, help="Learning rate of the backbone.")] = None,
    head_rate: Annotated[float | None, typer.Option(min=0, help="Learning rate of the head.")] = None,
    loss_rate: Annotated[
        float | None, typer.Option(min=0, help="Learning rate of the loss's parameters.")
    ] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Learning-rate schedule: constant, step or cosine.")
    ] = None,
    warm_up_epochs: Annotated[
        int | None, typer.Option(min=0, help="Number of first epochs with a frozen backbone.")
    ] = None,
    memory: Annotated[
        int | None,
        typer.Option(
            min=0, help="Number of embeddings from past batches that pair losses also compare with."
        ),
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Precision: fp32, bf16 or fp16.")] = None,
    input_size: InputSize = None,
    evaluate_every: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Epochs from one evaluation to the next, from the first on; 0 evaluates at the end only.",
        ),
    ] = None,
    recalls: Annotated[
        str | None, typer.Option("-k", metavar="K,K,...", help="Values of K for Recall@K in evaluations.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed.")] = None,
    others: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="NAME=VALUE",
            help=f"Another setting: {', '.join(TRAIN_SETTINGS)}; with "
            f"--avsl also {', '.join(AVSL_SETTINGS)}.",
        ),
    ] = None,
    resume: Annotated[bool, typer.Option(help="Resume the training in OUT with its settings.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="Number of devices to split every batch over.")] = 1,
    device: Annotated[str, typer.Option(help="Device: auto, cpu or gpu.")] = "auto",
    workers: Annotated[
        int,
        typer.Option(min=0, help="Number of processes that decode images; 0 decodes in the main process."),
    ] = 0,
    keep_images: Annotated[bool, typer.Option(help="Keep decoded images in memory.")] = True,
    checkpoint_every: Annotated[
        int, typer.Option(min=1, help="Steps between checkpoints; one is also written every minute.")
    ] = 100,
    hold_out: Annotated[
        float,
        typer.Option(
            min=0.0,
            max=0.5,
            help="Part of each class to evaluate on, if DATA has no split for it; 0 learns from all.",
        ),
    ] = 0.2,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Train a model on labeled images.

    Writes a model that every other command accepts. Ctrl-C finishes the step and saves it. With --resume an
    interrupted training continues from its last checkpoint and ends with the same result as without the
    interruption. Without a split to evaluate on, a fifth of each class is held out for it.

    Example: lookalike train birds/ --model mini --loss proxy-anchor -o trained/

    Example: lookalike train cub200/ --avsl --preset cub200-resnet50 -o trained/
    """
    with friendly_errors():
        _check_extra()
        from lookalike.reports.plots.training import training_curve
        from lookalike.training import RuntimeOptions, TrainSettings, fit, kept_epoch, recorded

        if resume and preset is not None:
            raise ValueError("--preset starts a new training; leave it out to resume one")
        spec, settings = recorded(out) if resume else _start(preset, avsl)
        if avsl and spec.avsl is None:
            raise ValueError("the training to resume does not train AVSL; leave --avsl out")
        assigned = parse_assignments(others or [])
        spec = _changed(spec, _given(model=model, loss=loss, dims=dims, pooling=pooling), assigned)
        changes = {name: value for name, value in assigned.items() if name not in AVSL_SETTINGS} | _given(
            epochs=epochs, batch_size=batch_size, images_per_class=images_per_class,
            backbone_rate=backbone_rate, head_rate=head_rate, loss_rate=loss_rate, schedule=schedule,
            warm_up_epochs=warm_up_epochs, memory=memory, precision=precision,
            input_size=parse_size(input_size), evaluate_every=evaluate_every, seed=seed,
            recalls=None if recalls is None else parse_ks(recalls),
        )  # fmt: skip
        settings = settings if resume else spec.default_settings(settings)
        settings = TrainSettings.from_dict(settings.to_dict() | changes)
        runtime = RuntimeOptions(devices, device, workers, keep_images, checkpoint_every)
        with shown_progress() as show:
            result = fit(
                data, spec.model, out=out, loss=spec.loss, dims=spec.dims, pooling=spec.pooling,
                avsl=spec.avsl, settings=settings, split=split, evaluate_on=evaluate_on, layout=layout,
                hold_out=hold_out, resume=resume, runtime=runtime, progress=_with_metrics(show),
            )  # fmt: skip
        training_curve(out / "log.csv", out / "curve.png")
        if as_json:
            print_json(result.to_dict())
        else:
            if kept := kept_epoch(out):
                echo(kept)
            for line in _before_and_after(result):
                echo(line)
            echo(f"wrote {out}; use it with: --model {out}")


def _before_and_after(result: TrainingResult) -> list[str]:
    """The metrics of the start model and of the trained one, and what they were measured on."""
    if not result.metrics:
        return ["nothing was left to evaluate on, so it is not known whether the model has improved"]
    on = f" on {result.n_held_out} images that were held out" if result.n_held_out else ""
    each = (f"{name} {result.before[name]:.4f} -> {value:.4f}" for name, value in result.metrics.items())
    return [f"before -> after{on}: {', '.join(each)}"]


def _start(preset_name: str | None, avsl: bool) -> tuple[ModelSpec, TrainSettings]:
    """The spec and settings before the other options are applied."""
    from lookalike.training import AvslSettings, ModelSpec, TrainSettings, preset

    if preset_name is None:
        return ModelSpec(avsl=AvslSettings() if avsl else None), TrainSettings()
    chosen = preset(preset_name)
    spec = ModelSpec(
        model=chosen.model, pooling=chosen.pooling, loss=chosen.loss, dims=chosen.dims, avsl=chosen.avsl
    )
    if avsl and spec.avsl is None:
        raise ValueError(f"{preset_name} is a baseline without AVSL; leave --avsl or -baseline out")
    return spec, chosen.settings


def _changed(spec: ModelSpec, changes: dict[str, Any], assigned: dict[str, Any]) -> ModelSpec:
    """The spec with the changes applied, including AVSL's settings from ``--set`` and ``--loss``."""
    from lookalike.training import AvslSettings

    of_avsl = {name: value for name, value in assigned.items() if name in AVSL_SETTINGS}
    if spec.avsl is None:
        if of_avsl:
            raise ValueError(f"{', '.join(of_avsl)} are settings of AVSL; add --avsl or --preset")
        return dataclasses.replace(spec, **changes)
    if "loss" in changes:
        of_avsl["base"] = changes["loss"]
    return dataclasses.replace(spec, **changes, avsl=AvslSettings.from_dict(spec.avsl.to_dict() | of_avsl))


def _with_metrics(show: ProgressCallback) -> ProgressCallback:
    """Show progress, and print the metrics of each evaluation."""

    def report(progress: Progress) -> None:
        show(progress)
        if len(progress.values) > 1:
            values = ", ".join(f"{name} {value:z.4f}" for name, value in progress.values.items())
            echo(f"{progress.stage}: {values}", err=True)

    return report


def _given(**options: Any) -> dict[str, Any]:
    """The options that are not None."""
    return {name: value for name, value in options.items() if value is not None}


def _check_extra() -> None:
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise errors.TrainingError(
            f"training needs {' and '.join(missing)}; install them with: pip install 'lookalike[train]'"
        )
