"""``lookalike evaluate explanations``: the leaderboard of maps."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lookalike.cli.options import AsJson, MaxPixels
from lookalike.cli.printing import echo, friendly_errors, print_json, print_table, shown_progress, write_text

if TYPE_CHECKING:
    from lookalike.datasets.pairs import ImagePair
    from lookalike.evaluation.explanations import ExplanationRow, ExplanationScores

_ROOMS = "rooms"
_DEFAULT_METHODS = "shares,occlusion,random,center"


def evaluate_explanations(
    data: Annotated[
        list[str],
        typer.Argument(
            help="Images that match: labeled folders, or layouts with masks, parts or homographies; "
            "'rooms' for generated rooms. Several may be given."
        ),
    ],
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model: mini (default), a timm name, a saved folder, a checkpoint or an .onnx file; "
            "can be repeated."
        ),
    ] = None,
    methods: Annotated[
        str,
        typer.Option(
            metavar="M,M,...",
            help="Explanation methods, with options as in shares:layer=3; random, center, feature-norm "
            "and feature-cosine are controls; FILE.py:FUNCTION is one of your own.",
        ),
    ] = _DEFAULT_METHODS,
    measures: Annotated[
        str | None, typer.Option(metavar="M,M,...", help="Measures to take; by default all.")
    ] = None,
    pairs: Annotated[int, typer.Option(min=1, help="Number of image pairs from each DATA.")] = 20,
    layout: Annotated[str, typer.Option(help="Layout of DATA; auto detects it from the files.")] = "auto",
    seed: Annotated[int, typer.Option(min=0, help="Random seed.")] = 0,
    run: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER", help="Write down each pair when it is done; run again to go on from there."
        ),
    ] = None,
    half: Annotated[
        str | None,
        typer.Option(
            metavar="choose|confirm",
            help="Only one half of the pairs, split by file names: one to choose on, one to confirm.",
        ),
    ] = None,
    reference: Annotated[
        str, typer.Option(metavar="METHOD", help="Method that the others are compared with.")
    ] = "shares",
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Write a report with curves, tables and maps."),
    ] = None,
    max_pixels: MaxPixels = None,
    as_json: AsJson = False,
) -> None:
    """Measure whether maps of a similarity are true.

    Takes every method on every model over the same pairs: does the similarity follow the map when cells
    are hidden, does the map lie where masks, parts and homographies say, does it depend on the match, and
    what does it cost. A function of yours takes two pictures and returns two arrays.

    Example: lookalike evaluate explanations butterflies/ --model mini --methods shares,occlusion,random
    """
    with friendly_errors(), _opened(data, pairs, layout, seed, run) as found:
        from lookalike.evaluation.explanations import evaluate_explanations, split_methods
        from lookalike.reports.explanations import leaderboard_report

        with shown_progress() as progress:
            scores = evaluate_explanations(
                found, list(model or ["mini"]), list(split_methods(methods)),
                measures=None if measures is None else [name.strip() for name in measures.split(",")],
                reference=reference, seed=seed, run=run, half=half, progress=progress,
            )  # fmt: skip
        if as_json:
            print_json(scores.to_dict())
        else:
            _print_scores(scores)
        if report is not None:  # last: the table is printed even if the report can't be written
            write_text(report, leaderboard_report(scores))
            if not as_json:
                echo(f"wrote {report}")


@contextmanager
def _opened(data: list[str], n: int, layout: str, seed: int, run: Path | None) -> Iterator[list[ImagePair]]:
    """The pairs of all data; generated rooms lie in the folder of the run, or in a temporary one."""
    from lookalike.datasets.pairs import read_pairs
    from lookalike.scenes import write_room_pairs

    with tempfile.TemporaryDirectory() as temporary:
        found: list[ImagePair] = []
        for source in data:
            if source == _ROOMS and not Path(source).exists():
                folder = write_room_pairs((run or Path(temporary)) / _ROOMS, n, seed=seed)
                found += read_pairs(folder, limit=n, seed=seed)
            else:
                found += read_pairs(source, limit=n, seed=seed, layout=layout)
        yield found


def _print_scores(scores: ExplanationScores) -> None:
    from lookalike.evaluation.explanations import best_rows, families

    best = best_rows(scores)
    for model in scores.models:
        for family, measures in families(scores, model):
            rows = [
                (method, *(_cell(scores.row(model, method, measure), best) for measure in measures))
                for method in scores.methods(model)
            ]
            print_table((f"{model}: {family}", *measures), rows)
            echo()
    for refusal in scores.refusals:
        echo(f"{refusal.model}, {refusal.method}: {refusal.reason}", err=True)
    n_pairs = scores.settings["n_pairs"]
    counted = "1 pair" if n_pairs == 1 else f"{n_pairs} pairs"
    echo(f"{counted}; * is the best of a column on the most pairs, controls apart.")


def _cell(row: ExplanationRow | None, best: set[ExplanationRow]) -> str:
    if row is None:
        return ""
    interval = f" ±{(row.high - row.low) / 2:.2g}" if row.pairs > 1 else ""  # one pair has none
    return f"{row.value:.3g}{interval}{'*' if row in best else ''}"
