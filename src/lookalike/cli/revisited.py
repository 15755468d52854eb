"""``lookalike evaluate revisited``: the protocol of the revisited Oxford and Paris benchmarks."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import AsJson, Model, Pooling
from lookalike.cli.plots import Show, import_plots, parse_numbers
from lookalike.cli.printing import friendly_errors, print_json, print_table, progress_bar

if TYPE_CHECKING:
    from lookalike.evaluation.revisited import RevisitedMetrics
    from lookalike.evaluation.revisited_runs import DescriptorSettings, RevisitedRun

_ONE_OF = "give one of --ranks, --scores, --queries with --gallery, or --images with --model"


@dataclasses.dataclass(frozen=True)
class _Given:
    """What is judged."""

    ranks: Path | None
    scores: Path | None
    queries: Path | None
    gallery: Path | None
    images: Path | None

    def kind(self) -> str:
        """The one that is given. Raises typer.BadParameter."""
        if (self.queries is None) != (self.gallery is None):
            raise typer.BadParameter("--queries and --gallery go together")
        kinds = [name for name in ("ranks", "scores", "queries") if getattr(self, name) is not None]
        if len(kinds) > 1 or not (kinds or self.images):
            raise typer.BadParameter(
                f"{_ONE_OF}; got {' and '.join('--' + kind for kind in kinds) or 'none'}"
            )
        return kinds[0] if kinds else "images"


def evaluate_revisited(
    gnd: Annotated[Path, typer.Option(help="Ground truth: gnd_roxford5k.pkl, gnd_rparis6k.pkl or alike.")],
    ranks: Annotated[
        Path | None, typer.Option(metavar="FILE", help=".npz with ranks (gallery, queries), or .npy.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Scores (queries, gallery), higher is better.")
    ] = None,
    queries: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Descriptors of the queries, one row each.")
    ] = None,
    gallery: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Descriptors of the gallery; a .npy stays on disk.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The benchmark's images, to describe with --model.")
    ] = None,
    model: Model = "mini",
    pooling: Pooling = None,
    scales: Annotated[
        str | None, typer.Option(metavar="S,S,...", help="Of images; default 1,0.707,0.5.")
    ] = None,
    resolution: Annotated[
        int | None, typer.Option(min=16, help="Longer side of images; default: as the model wants them.")
    ] = None,
    crop: Annotated[
        bool, typer.Option("--crop/--whole-queries", help="Cut query images to their boxes.")
    ] = True,
    save_descriptors: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep queries.npy and gallery.npy of --images.")
    ] = None,
    whiten: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Learn a PCA whitening on these descriptors.")
    ] = None,
    whiten_width: Annotated[int | None, typer.Option(min=1, help="Directions that it keeps.")] = None,
    distractors: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Descriptors of images that are never right; several times."),
    ] = None,
    n_distractors: Annotated[
        int, typer.Option(min=0, help="Of --ranks: rows after the benchmark's own images.")
    ] = 0,
    rerank: Annotated[
        str | None, typer.Option(metavar="METHOD", help="Re-rank descriptors, and show before and after.")
    ] = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many are re-ranked.")] = 1024,
    before: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Other ranks, to compare --ranks with.")
    ] = None,
    note: Annotated[list[str] | None, typer.Option(help="A line for the protocol card.")] = None,
    metrics: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write curves, AP per query and, with --images, framed results."),
    ] = None,
    show: Show = None,
    difficulty: Annotated[
        str, typer.Option(help="Of frames and AP per query: easy, medium, hard.")
    ] = "medium",
    as_json: AsJson = False,
) -> None:
    """Judge a ranking by the revisited Oxford/Paris protocol.

    Easy, medium and hard, from ranks, scores, descriptors, or the images themselves. A card of what
    the metrics depend on is printed with them: boxes, resolution, scales, whitening, rules, hashes of
    files.

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
        if kind == "ranks":
            assert ranks is not None
            run = runs.run_on_ranks(truth, ranks, before=before, n_distractors=n_distractors, notes=notes)
        elif kind == "scores":
            assert scores is not None
            run = runs.run_on_scores(truth, scores, notes=notes)
        elif kind == "queries":
            assert queries is not None and gallery is not None
            run = runs.run_on_descriptors(
                truth, queries, gallery, settings, notes=notes, progress=progress_bar
            )
        else:
            assert images is not None
            from lookalike.evaluation.revisited_images import for_protocol
            from lookalike.models.embedder import Embedder

            loaded = Embedder.load(model, pooling=pooling)
            embedder = for_protocol(loaded, scales=_numbers(scales), resolution=resolution)
            run = runs.run_on_images(
                truth, images, embedder, settings,
                crop=crop, keep=save_descriptors, notes=notes, progress=progress_bar,
            )  # fmt: skip
        written = []
        if metrics is not None:
            drawing = import_plots()
            comparison = drawing.story_of(run, images, difficulty=difficulty, crop=crop)
            written = drawing.write_plots(comparison, metrics, shown=parse_numbers(show))
        _print(run, written, as_json)


def _refuse_unused(kind: str, settings: DescriptorSettings, before: Path | None, n_distractors: int) -> None:
    """Options that would silently do nothing are a usage error."""
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
    from lookalike.evaluation.revisited import as_numbers
    from lookalike.evaluation.revisited_card import card_lines

    if as_json:
        before = {} if run.before is None else {"before": as_numbers(run.before)}
        print_json({**as_numbers(run.metrics), **before, "protocol": dataclasses.asdict(run.card),
                    "metrics": written})  # fmt: skip
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
