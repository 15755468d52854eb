"""``lookalike train-reranker``: train a re-ranker on labeled embeddings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import lookalike.errors as errors
from lookalike.cli.options import AsJson, parse_assignments
from lookalike.cli.printing import friendly_errors, print_json, shown_progress

commands = typer.Typer()

# Settings without an option of their own, for --set.
RERANKER_SETTINGS = (
    "method", "lists", "width", "depth", "heads", "hidden", "dropout", "neighbors", "alpha", "loss",
    "optimizer", "warm_up", "momentum", "weight_decay", "clip", "variation",
)  # fmt: skip
AtLeastOne = Annotated[int | None, typer.Option(min=1)]


@commands.command("train-reranker")
def train_reranker(
    data: Annotated[
        list[Path],
        typer.Argument(help="Files or folders of embeddings with labels; several are used together."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder for the weights and the log.")],
    labels: Annotated[
        Path | None, typer.Option(help="The class of each row, .npy or .txt, if DATA is a single matrix.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split, for pickles in CSA's layout.")] = "train",
    steps: AtLeastOne = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Queries per step.")] = None,
    candidates: Annotated[int | None, typer.Option(min=1, help="Length K of a query's list.")] = None,
    anchors: Annotated[
        int | None, typer.Option(min=1, help="Number L of anchors, the width of an affinity feature.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.0, help="The largest learning rate.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of the loss; 2 as published.")
    ] = None,
    reconstruction: Annotated[
        float | None, typer.Option(min=0.0, help="Weight of the reconstruction loss.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="fp32, bf16 or fp16.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help=f"Another setting: {', '.join(RERANKER_SETTINGS)}."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the training in OUT.")] = False,
    devices: Annotated[
        int, typer.Option(min=1, help="Number of devices; each computes a part of every batch.")
    ] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or gpu.")] = "auto",
    half: Annotated[bool, typer.Option("--half", help="Write the weights as fp16.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the re-ranker csa on your own embeddings.

    The method is CSA (Ouyang et al., NeurIPS 2021). DATA is a .safetensors or .npz file with `labels`
    and one or more matrices of the same images, a folder of such files, a .npy file with --labels, or a
    folder in the layout of CSA's authors (annotations, train). An interrupted training continues from
    its last checkpoint with --resume, with the same result as if it had never stopped.

    Example: lookalike train-reranker birds.safetensors --steps 2000 -o csa-birds/
    """
    with friendly_errors():
        if find_spec("lightning") is None:
            raise errors.LookalikeError(
                "training needs Lightning; install it with: pip install 'lookalike[train]'"
            )
        from lookalike.datasets.descriptors import read_descriptors
        from lookalike.reports.plots.training import training_curve
        from lookalike.training import RuntimeOptions
        from lookalike.training.reranking import fit_reranker, recorded_settings
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
        with shown_progress() as progress:
            written = fit_reranker(
                sets,
                settings,
                out=out,
                resume=resume,
                half=half,
                runtime=RuntimeOptions(devices, device),
                progress=progress,
            )
        training_curve(out / "log.csv", out / "curve.png")
        if as_json:
            print_json({"checkpoint": str(written), "settings": settings.to_dict()})
            return
        typer.echo(f"trained {settings.steps} steps; use it with: --method csa --checkpoint {written}")
