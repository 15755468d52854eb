"""The command that trains a re-ranker on labeled embeddings: ``train-reranker``."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import lookalike.errors as errors
from lookalike.cli.options import AsJson, parse_assignments
from lookalike.cli.printing import counting_bar, friendly_errors, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from lookalike.training.reranking import RerankerProgress

commands = typer.Typer()

# Settings that have no option of their own.
OTHER_SETTINGS = (
    "method", "lists", "width", "depth", "heads", "hidden", "dropout", "neighbors", "alpha", "loss",
    "optimizer", "warm_up", "momentum", "weight_decay", "clip", "variation",
)  # fmt: skip
Whole = Annotated[int | None, typer.Option(min=1)]


@commands.command("train-reranker")
def train_reranker(
    data: Annotated[
        list[Path],
        typer.Argument(help="Files or folders of embeddings with labels; several are trained on together."),
    ],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="New folder, for model.safetensors and the curves.")
    ],
    labels: Annotated[
        Path | None, typer.Option(help="The class of each row, for DATA that is one matrix: .npy or .txt.")
    ] = None,
    split: Annotated[str, typer.Option(help="Of pickles in CSA's layout.")] = "train",
    steps: Whole = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Queries a step.")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="Of a query's list, K.")] = None,
    anchors: Annotated[int | None, typer.Option(min=1, help="Columns of the affinities, L.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.0, help="The largest learning rate.")] = None,
    temperature: Annotated[float | None, typer.Option(help="Of the loss; 2 as published.")] = None,
    reconstruction: Annotated[
        float | None, typer.Option(min=0.0, help="Weight of the reconstruction loss.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help=f"Another setting: {', '.join(OTHER_SETTINGS)}."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the training in OUT.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="Processes; each takes its part of the batch.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    half: Annotated[bool, typer.Option("--half", help="Write the weights as fp16.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the re-ranker csa on your own embeddings.

    The method is that of NeurIPS 2021. DATA is a .safetensors or .npz with `labels` and one or several
    matrices of the same images, a folder of such, a .npy with --labels, or a folder of the authors'
    layout (annotations, train).
    Killed or interrupted, it goes on with --resume from its last checkpoint as if nothing had been.

    Example: lookalike train-reranker birds.safetensors --steps 2000 -o csa-birds/
    """
    with friendly_errors():
        if find_spec("lightning") is None:
            raise errors.LookalikeError("training needs Lightning; install lookalike[train]")
        from lookalike.datasets.descriptors import read_descriptors
        from lookalike.reports.plots.training import training_curve
        from lookalike.training.reranking import RerankerRunning, fit_reranker, recorded_settings
        from lookalike.training.reranking_settings import RerankerSettings

        given = {
            "steps": steps, "batch_size": batch_size, "candidates": candidates, "n_anchors": anchors,
            "rate": rate, "temperature": temperature, "reconstruction": reconstruction,
            "precision": precision, "seed": seed,
        }  # fmt: skip
        changes = parse_assignments(others or []) | {k: v for k, v in given.items() if v is not None}
        start = recorded_settings(out) if resume else RerankerSettings()
        settings = RerankerSettings.from_dict(start.to_dict() | changes)
        sets = [found for source in data for found in read_descriptors(source, labels=labels, split=split)]
        with counting_bar("training") as show:
            written = fit_reranker(
                sets,
                settings,
                out=out,
                resume=resume,
                runtime=RerankerRunning(devices, device, half, _shown(show)),
            )
        training_curve(out / "log.csv", out / "curve.png")
        if as_json:
            print_json({"checkpoint": str(written), "settings": settings.to_dict()})
            return
        typer.echo(f"trained {settings.steps} steps; use it with: --method csa --checkpoint {written}")


@dataclass(frozen=True)
class _Counted:
    """A training's progress as the bar wants it."""

    done: int
    total: int
    rate: float
    remaining: float | None


def _shown(show: Callable[[Any], None]) -> Callable[[RerankerProgress], None]:
    return lambda progress: show(
        _Counted(progress.step, progress.steps, progress.queries_per_second, progress.remaining)
    )
