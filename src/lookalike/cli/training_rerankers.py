"""``lookalike train-reranker``: train a re-ranker on labeled embeddings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

import lookalike.errors as errors
from lookalike.cli.options import AsJson, parse_assignments
from lookalike.cli.printing import echo, friendly_errors, print_json, shown_progress

# Settings without an option of their own, for --set.
RERANKER_SETTINGS = (
    "method", "lists", "width", "depth", "heads", "hidden", "dropout", "neighbors", "alpha", "loss",
    "optimizer", "warm_up", "momentum", "weight_decay", "clip", "variation",
)  # fmt: skip


def train_reranker(
    data: Annotated[
        list[Path],
        typer.Argument(help="Files or folders of labeled embeddings; several are combined."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder for the weights and the log.")],
    labels: Annotated[
        Path | None, typer.Option(help="Class of each row, as .npy or .txt, if DATA is a single matrix.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to train on, for pickles in CSA's layout.")] = "train",
    steps: Annotated[int | None, typer.Option(min=1, help="Number of training steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, help="Queries per step.")] = None,
    candidates: Annotated[
        int | None, typer.Option(min=1, help="Length K of each query's candidate list.")
    ] = None,
    anchors: Annotated[
        int | None, typer.Option(min=1, help="Number L of anchors, the length of an affinity feature.")
    ] = None,
    rate: Annotated[float | None, typer.Option(min=0.0, help="Maximum learning rate.")] = None,
    temperature: Annotated[
        float | None, typer.Option(help="Temperature of the loss; published value 2.")
    ] = None,
    reconstruction: Annotated[
        float | None, typer.Option(min=0.0, help="Weight of the reconstruction loss.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="Precision: fp32, bf16 or fp16.")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Random seed.")] = None,
    others: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help=f"Another setting: {', '.join(RERANKER_SETTINGS)}."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the training in OUT.")] = False,
    devices: Annotated[int, typer.Option(min=1, help="Number of devices to split every batch over.")] = 1,
    device: Annotated[str, typer.Option(help="Device: auto, cpu or gpu.")] = "auto",
    half: Annotated[bool, typer.Option("--half", help="Save the weights as fp16.")] = False,
    as_json: AsJson = False,
) -> None:
    """Train the CSA re-ranker on your own embeddings.

    CSA is the method of Ouyang et al. (NeurIPS 2021). DATA is a .safetensors or .npz file with `labels`
    and one or more matrices of the same images, a folder of such files, a .npy file with --labels, or a
    folder in the layout of CSA's code (annotations, train). With --resume an interrupted training
    continues from its last checkpoint and ends with the same result as without the interruption.

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
        echo(f"trained {settings.steps} steps; use it with: --method csa --checkpoint {written}")
