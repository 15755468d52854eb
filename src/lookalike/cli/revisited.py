"""``lookalike evaluate revisited``: the protocol of the revisited Oxford and Paris benchmarks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import (
    AsJson,
    Engine,
    LearnedWhiteningName,
    MaxPixels,
    Model,
    PoolingName,
    RayAddress,
    parse_assignments,
    parse_scales,
)
from lookalike.cli.plots import Show, import_plots, parse_numbers
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress

if TYPE_CHECKING:
    from lookalike.evaluation.revisited import RevisitedMetrics
    from lookalike.evaluation.revisited_runs import DescriptorSettings, RevisitedRun

_ONE_OF = "give one of --ranks, --scores, --queries with --gallery, or --images with --model"


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """The mutually exclusive inputs."""

    ranks: Path | None
    scores: Path | None
    queries: Path | None
    gallery: Path | None
    images: Path | None

    def kind(self) -> str:
        """Return the kind of input. Raises typer.BadParameter unless it is exactly one."""
        if (self.queries is None) != (self.gallery is None):
            raise typer.BadParameter("--queries and --gallery go together")
        kinds = [name for name in ("ranks", "scores", "queries") if getattr(self, name) is not None]
        if len(kinds) > 1 or not (kinds or self.images):
            raise typer.BadParameter(
                f"{_ONE_OF}; got {' and '.join('--' + kind for kind in kinds) or 'none'}"
            )
        return kinds[0] if kinds else "images"


def evaluate_revisited(
    gnd: Annotated[
        Path, typer.Option(help="Ground-truth file, such as gnd_roxford5k.pkl or gnd_rparis6k.pkl.")
    ],
    ranks: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help=".npz file with an array ranks (gallery, queries), or a .npy file."
        ),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Scores (queries, gallery), higher is better.")
    ] = None,
    queries: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Descriptors of the queries, one row each; .pkl in CSA's layout, too."
        ),
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Descriptors of the gallery; a .npy file is read in blocks."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder of the benchmark's images, to embed with --model."),
    ] = None,
    model: Model = "mini",
    pooling: PoolingName = None,
    whitening: LearnedWhiteningName = None,
    scales: Annotated[
        str | None, typer.Option(metavar="S,S,...", help="Image scales; 1,0.707,0.5 by default.")
    ] = None,
    resolution: Annotated[
        int | None,
        typer.Option(
            min=16, help="Longer side of the images in pixels; by default the model's own input size."
        ),
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop/--whole-queries", help="Crop query images to their boxes.")
    ] = True,
    save_descriptors: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Save the descriptors of --images as queries.npy and gallery.npy."),
    ] = None,
    whiten: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Learn a PCA whitening from these descriptors.")
    ] = None,
    whiten_width: Annotated[
        int | None, typer.Option(min=1, help="Number of dimensions to keep after whitening.")
    ] = None,
    distractors: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Descriptors of distractor images; can be repeated."),
    ] = None,
    n_distractors: Annotated[
        int, typer.Option(min=0, help="For --ranks: number of distractors after the benchmark's images.")
    ] = 0,
    rerank: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Re-ranker; reports metrics before and after re-ranking."),
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="For --rerank csa: trained or published weights instead of csa-mini."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Option of the re-ranker; can be repeated."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Number of top results to re-rank.")] = 1024,
    before: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ranks to compare --ranks with.")
    ] = None,
    note: Annotated[
        list[str] | None, typer.Option(help="Line to add to the protocol card; can be repeated.")
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write plots: curves, AP of each query and, with --images, top results."
        ),
    ] = None,
    show: Show = None,
    difficulty: Annotated[str, typer.Option(help="Difficulty to plot: easy, medium or hard.")] = "medium",
    engine: Engine = "local",
    address: RayAddress = None,
    workers: Annotated[
        int,
        typer.Option(min=0, help="With --engine ray: number of its workers; by default one for each core."),
    ] = 0,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Evaluate with the revisited Oxford/Paris protocol.

    Reports metrics for easy, medium and hard, from ranks, scores, descriptors or images, and a card of
    everything they depend on: query boxes, resolution, scales, whitening, rules, file hashes.

    Example: lookalike evaluate revisited --gnd gnd_roxford5k.pkl --ranks ranks.npz

    Example: lookalike evaluate revisited --gnd gnd_roxford5k.pkl --queries roxford5k/net.pkl --gallery
    roxford5k/net.pkl --distractors r1m/net.pkl --rerank csa --checkpoint csa/model.safetensors
    """
    kind = _Inputs(ranks, scores, queries, gallery, images).kind()
    with friendly_errors():
        from lookalike.datasets.revisited import read_truth
        from lookalike.distributed import ENGINES
        from lookalike.errors import check_name
        from lookalike.evaluation import revisited_runs as runs

        truth, notes = read_truth(gnd), tuple(note or ())
        settings = runs.DescriptorSettings(
            whiten, whiten_width, tuple(distractors or ()), rerank, k,
            checkpoint=checkpoint, options=parse_assignments(option or []),
        )  # fmt: skip
        _refuse_unused(kind, settings, before, n_distractors)
        check_name("engine", engine, ENGINES)
        if engine != "local" and kind != "images":
            raise typer.BadParameter("--engine ray embeds; it goes with --images")
        with shown_progress() as progress:
            if kind == "ranks":
                assert ranks is not None
                run = runs.run_on_ranks(truth, ranks, before=before, n_distractors=n_distractors, notes=notes)
            elif kind == "scores":
                assert scores is not None
                run = runs.run_on_scores(truth, scores, notes=notes)
            elif kind == "queries":
                assert queries is not None and gallery is not None
                run = runs.run_on_descriptors(
                    truth, queries, gallery, settings, notes=notes, progress=progress
                )
            else:
                assert images is not None
                from lookalike.evaluation.embedding_parts import RayEngine
                from lookalike.evaluation.revisited_images import for_protocol
                from lookalike.models.embedder import Embedder

                loaded = Embedder.load(model, pooling=pooling, whitening=whitening)
                embedder = for_protocol(loaded, scales=parse_scales(scales), resolution=resolution)
                run = runs.run_on_images(
                    truth, images, embedder, settings,
                    crop=crop, keep=save_descriptors, notes=notes,
                    ray=RayEngine(address, workers or None) if engine == "ray" else None, progress=progress,
                )  # fmt: skip
        written = []
        if plots is not None:
            drawing = import_plots()
            comparison = drawing.revisited_comparison(run, images, difficulty=difficulty, crop=crop)
            written = drawing.write_plots(comparison, plots, shown=parse_numbers(show))
        _print(run, written, as_json)


def _refuse_unused(kind: str, settings: DescriptorSettings, before: Path | None, n_distractors: int) -> None:
    """Raise typer.BadParameter for options that would have no effect."""
    if kind != "ranks" and (before or n_distractors):
        raise typer.BadParameter("--before and --n-distractors go with --ranks")
    if (settings.checkpoint or settings.options) and not settings.rerank:
        raise typer.BadParameter("--checkpoint and --set go with --rerank")
    of_descriptors = settings.whiten or settings.distractors or settings.rerank
    if kind in ("ranks", "scores") and of_descriptors:
        raise typer.BadParameter("--whiten, --distractors and --rerank go with descriptors or images")


def _print(run: RevisitedRun, written: list[Path], as_json: bool) -> None:
    from lookalike.evaluation.revisited_card import card_lines

    if as_json:
        print_json(run.to_dict() | {"plots": written})
        return
    header = ("", "mAP", "mP@1", "mP@5", "mP@10", "queries")
    if run.before is not None:
        print_table(("before", *header[1:]), _rows(run.before))
    print_table(header if run.before is None else ("after", *header[1:]), _rows(run.metrics))
    echo()
    for name, text in card_lines(run.card):
        echo(f"{name:<12} {text}")
    for path in written:
        echo(f"wrote        {path}")


def _rows(metrics: RevisitedMetrics) -> list[tuple[str, ...]]:
    return [
        (
            name,
            *(_percent(value) for value in (each.revisited_map, *each.mean_precision)),
            str(int(each.is_counted.sum())),
        )
        for name, each in metrics.by_difficulty.items()
    ]


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:z.2f}"
