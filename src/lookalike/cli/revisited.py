"""``lookalike evaluate revisited``: the protocol of the revisited Oxford and Paris benchmarks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import AsJson, Model, Pooling
from lookalike.cli.plots import Show, import_plots, parse_numbers
from lookalike.cli.printing import friendly_errors, print_json, print_table, shown_progress

if TYPE_CHECKING:
    from lookalike.evaluation.revisited import RevisitedMetrics
    from lookalike.evaluation.revisited_runs import DescriptorSettings, RevisitedRun

_ONE_OF = "give one of --ranks, --scores, --queries with --gallery, or --images with --model"


@dataclasses.dataclass(frozen=True)
class _Given:
    """The options of which exactly one kind must be given."""

    ranks: Path | None
    scores: Path | None
    queries: Path | None
    gallery: Path | None
    images: Path | None

    def kind(self) -> str:
        """Return the kind that is given. Raises typer.BadParameter."""
        if (self.queries is None) != (self.gallery is None):
            raise typer.BadParameter("--queries and --gallery go together")
        kinds = [name for name in ("ranks", "scores", "queries") if getattr(self, name) is not None]
        if len(kinds) > 1 or not (kinds or self.images):
            raise typer.BadParameter(
                f"{_ONE_OF}; got {' and '.join('--' + kind for kind in kinds) or 'none'}"
            )
        return kinds[0] if kinds else "images"


def evaluate_revisited(
    gnd: Annotated[Path, typer.Option(help="Ground truth, such as gnd_roxford5k.pkl or gnd_rparis6k.pkl.")],
    ranks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=".npz with an array ranks (gallery, queries), or .npy."),
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Scores (queries, gallery), higher is better.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Descriptors of the queries, one row each.")
    ] = None,
    gallery: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Descriptors of the gallery; a .npy file is read in blocks."),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Images of the benchmark, to embed with --model.")
    ] = None,
    model: Model = "mini",
    pooling: Pooling = None,
    scales: Annotated[
        str | None, typer.Option(metavar="S,S,...", help="Scales of the images, 1,0.707,0.5 by default.")
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
        typer.Option(metavar="DIR", help="Write the descriptors of --images as queries.npy and gallery.npy."),
    ] = None,
    whiten: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Learn a PCA whitening on these descriptors.")
    ] = None,
    whiten_width: Annotated[
        int | None, typer.Option(min=1, help="Number of directions that the whitening keeps.")
    ] = None,
    distractors: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Descriptors of images that match no query; may be repeated."),
    ] = None,
    n_distractors: Annotated[
        int, typer.Option(min=0, help="For --ranks: number of rows after those of the benchmark.")
    ] = 0,
    rerank: Annotated[
        str | None,
        typer.Option(metavar="METHOD", help="Re-rank the descriptors, and report before and after."),
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="Length of the list that is re-ranked.")] = 1024,
    before: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Ranks to compare --ranks with.")
    ] = None,
    note: Annotated[
        list[str] | None, typer.Option(help="A line for the protocol card; may be repeated.")
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Plot curves, AP of each query and, with --images, first results."),
    ] = None,
    show: Show = None,
    difficulty: Annotated[
        str, typer.Option(help="Difficulty of the plotted results and AP: easy, medium or hard.")
    ] = "medium",
    as_json: AsJson = False,
) -> None:
    """Evaluate a ranking by the revisited Oxford/Paris protocol.

    Reports easy, medium and hard, from ranks, scores, descriptors or the images themselves, with a card
    of everything the metrics depend on: boxes, resolution, scales, whitening, rules, file hashes.

    Example: lookalike evaluate revisited --gnd gnd_roxford5k.pkl --ranks ranks.npz
    """
    given = _Given(ranks, scores, queries, gallery, images)
    kind = given.kind()
    with friendly_errors():
        from lookalike.datasets.revisited import read_truth
        from lookalike.evaluation import revisited_runs as runs

        truth, notes = read_truth(gnd), tuple(note or ())
        settings = runs.DescriptorSettings(whiten, whiten_width, tuple(distractors or ()), rerank, k)
        _refuse_unused(kind, settings, before, n_distractors)
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
                from lookalike.evaluation.revisited_images import for_protocol
                from lookalike.models.embedder import Embedder

                loaded = Embedder.load(model, pooling=pooling)
                embedder = for_protocol(loaded, scales=_numbers(scales), resolution=resolution)
                run = runs.run_on_images(
                    truth, images, embedder, settings,
                    crop=crop, keep=save_descriptors, notes=notes, progress=progress,
                )  # fmt: skip
        written = []
        if plots is not None:
            drawing = import_plots()
            comparison = drawing.revisited_comparison(run, images, difficulty=difficulty, crop=crop)
            written = drawing.write_plots(comparison, plots, shown=parse_numbers(show))
        _print(run, written, as_json)


def _refuse_unused(kind: str, settings: DescriptorSettings, before: Path | None, n_distractors: int) -> None:
    """Raise typer.BadParameter for options that would silently do nothing."""
    if kind != "ranks" and (before or n_distractors):
        raise typer.BadParameter("--before and --n-distractors go with --ranks")
    of_descriptors = settings.whiten or settings.distractors or settings.rerank
    if kind in ("ranks", "scores") and of_descriptors:
        raise typer.BadParameter("--whiten, --distractors and --rerank go with descriptors or images")


def _numbers(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if not values or not all(0 < value <= 4 for value in values):
        raise typer.BadParameter(
            f"--scales takes factors above 0 and up to 4, such as 1,0.707,0.5; got {text!r}"
        )
    return values


def _print(run: RevisitedRun, written: list[Path], as_json: bool) -> None:
    from lookalike.evaluation.revisited_card import card_lines

    if as_json:
        print_json(run.to_dict() | {"plots": written})
        return
    header = ("", "mAP", "mP@1", "mP@5", "mP@10", "queries")
    if run.before is not None:
        print_table(("before", *header[1:]), _rows(run.before))
    print_table(header if run.before is None else ("after", *header[1:]), _rows(run.metrics))
    typer.echo()
    for name, text in card_lines(run.card):
        typer.echo(f"{name:<12} {text}")
    for path in written:
        typer.echo(f"wrote        {path}")


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
    return "-" if value != value else f"{100 * value:.2f}"
