"""``lookalike train-reranker``: train a re-ranker on labeled embeddings."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import lookalike.errors as errors
from lookalike.cli.options import AsJson, parse_assignments
from lookalike.cli.printing import echo, friendly_errors, print_json, shown_progress

if TYPE_CHECKING:
    from lookalike.datasets.descriptors import ViewChoice
    from lookalike.training.reranking_settings import RerankerSettings

# Settings without an option of their own, for --set.
RERANKER_SETTINGS = (
    "method", "lists", "width", "depth", "heads", "hidden", "dropout", "drop_path", "neighbors", "alpha",
    "loss", "optimizer", "warm_up", "warm_up_from", "momentum", "weight_decay", "clip", "variation",
)  # fmt: skip


def train_reranker(
    data: Annotated[
        list[Path],
        typer.Argument(help="Files or folders of labeled embeddings, or galleries; several are combined."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder for the weights and the log.")],
    labels: Annotated[
        Path | None, typer.Option(help="Class of each row, as .npy or .txt, if DATA is a single matrix.")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to train on, for pickles in CSA's layout.")] = "train",
    field: Annotated[
        str, typer.Option(help="Of a gallery: the metadata field that holds the label.")
    ] = "label",
    descriptors: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME,...", help="Embeddings of DATA to use, by name; all by default."),
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Published training: csa (one network's embeddings) or csa-augmented (several)."),
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of times that each list is learned from.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Number of training steps, instead of epochs.")
    ] = None,
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

    CSA is the method of Ouyang et al. (NeurIPS 2021); the defaults are those of its experiments, which take
    100 epochs in batches of 256 lists. DATA is a .safetensors or .npz file with `labels`
    and one or more matrices of the same images, a folder of such files, a .npy file with --labels, a gallery
    whose pictures have labels, or a folder in the layout of CSA's code (annotations, train). With --resume
    an interrupted training continues from its last checkpoint and ends with the same result as without the
    interruption.

    Example: lookalike train-reranker birds.safetensors --steps 2000 -o csa-birds/

    Example: lookalike train-reranker data/ --preset csa-augmented -o csa/
    """
    with friendly_errors():
        if find_spec("lightning") is None:
            raise errors.LookalikeError(
                "training needs Lightning; install it with: pip install 'lookalike[train]'"
            )
        from lookalike.datasets.descriptors import read_descriptors
        from lookalike.evaluation import descriptors_of_gallery
        from lookalike.reports.plots.training import training_curve
        from lookalike.store.manifest import has_manifest
        from lookalike.training import RuntimeOptions
        from lookalike.training.reranking import fit_reranker

        given = {
            "epochs": epochs, "steps": steps, "batch_size": batch_size, "candidates": candidates,
            "n_anchors": anchors, "rate": rate, "temperature": temperature,
            "reconstruction": reconstruction, "precision": precision, "seed": seed,
        }  # fmt: skip
        changes = parse_assignments(others or []) | {k: v for k, v in given.items() if v is not None}
        start, choose = _start(out if resume else None, preset, descriptors)
        settings = type(start).from_dict(start.to_dict() | changes)
        sets = [
            found
            for source in data
            for found in (
                [descriptors_of_gallery(source, field=field, choose=choose)]
                if labels is None and has_manifest(source)
                else read_descriptors(source, labels=labels, split=split, choose=choose)
            )
        ]
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
        n_lists = sum(len(of_set.labels) * len(of_set.views) for of_set in sets)
        views = {of_set.name: sorted(of_set.views) for of_set in sets}
        n_steps = settings.n_steps(n_lists)
        if as_json:
            print_json(
                {"checkpoint": str(written), "steps": n_steps, "descriptors": views,
                 "settings": settings.to_dict()}
            )  # fmt: skip
            return
        for name, of_set in views.items():
            echo(f"learned from {name}: {', '.join(of_set)}")
        echo(
            f"trained {n_steps} steps; use it with: rerank --method csa --checkpoint {written}, or "
            f"evaluate revisited --rerank csa --checkpoint {written}"
        )


def _start(
    resumed: Path | None, preset: str | None, descriptors: list[str] | None
) -> tuple[RerankerSettings, ViewChoice]:
    """The settings before the other options are applied, and the choice of descriptors."""
    from lookalike.datasets.descriptors import all_views, views_named
    from lookalike.training.reranking import recorded_settings, recorded_views
    from lookalike.training.reranking_presets import reranker_preset
    from lookalike.training.reranking_settings import RerankerSettings

    if resumed is not None:
        if preset is not None:
            raise ValueError("--preset starts a new training; leave it out to resume one")
        settings, choose = recorded_settings(resumed), recorded_views(resumed)
    elif preset is not None:
        chosen = reranker_preset(preset)
        settings, choose = chosen.settings, chosen.choose
    else:
        settings, choose = RerankerSettings(), all_views
    names = [name.strip() for part in descriptors or [] for name in part.split(",")]
    return settings, views_named(names) if names else choose
