"""The leaderboard of docs/explanations.md: methods on embeddings over real and generated pairs.

    uv run python benchmarks/explanations.py --run FOLDER [--pairs 24] [--minutes 60]
    uv run python benchmarks/explanations.py --run FOLDER --models mini,osnet --half choose
    uv run python benchmarks/explanations.py --run FOLDER --table [--write docs/explanations.md]

Pairs come in equal parts from birds (parts), butterflies and paintings (masks), groceries (labels),
HPatches (homographies) and generated rooms (masks), and from both halves of the fixed split. Each pair is
written down when it is done: interrupt the run, or end it after some minutes, and start it again with the
same arguments to go on. Each model has a folder of its own inside the run's, so models can be added later,
and two processes may share the models. ``--minutes 0`` only writes the rows of what was measured, and
``--table`` measures nothing.
"""

from __future__ import annotations

import json
import time
from argparse import ArgumentParser, Namespace
from itertools import zip_longest
from pathlib import Path

from environment import add_shared, describe_run, parser_of
from explanation_models import MODELS
from explanation_tables import tables_of, write_between_marks

from lookalike.cli.printing import shown_progress
from lookalike.datasets.pairs import ImagePair, read_pairs
from lookalike.evaluation.explanations import (
    PAIR_HALVES,
    ExplanationScores,
    evaluate_explanations,
    half_of,
    split_methods,
)
from lookalike.reports.explanations import leaderboard_report
from lookalike.scenes import write_room_pairs
from lookalike.types import Progress

SETS = ("birds_full", "butterflies", "paintings", "grocery/test", "hpatches")
METHODS = (
    "random,center,feature-norm,feature-cosine,shares,shares:layer=last,shares:layer=-1,reference=both,"
    "shares:layer=0,reference=both,shares:layer=-1,leave-one-out,leave-tokens-out,occlusion:cells=7,"
    "rise:masks=64,gradient-input,integrated-gradients:steps=8,gradcam,legrad,rollout,rollout-conserving"
)


class TimeIsUp(Exception):
    """The minutes of this call are over."""


def pairs_of(shared: Path, run: Path, n: int) -> list[ImagePair]:
    """About n pairs, as many from each set and in each half; in turn, so that the first are of every kind."""
    each = -(-n // (2 * (len(SETS) + 1)))  # of a set in a half
    n_drawn = 12 * each  # enough to have so many of both halves
    folders = [write_room_pairs(run / "rooms", n_drawn), *(shared / "data" / name for name in SETS)]
    drawn = [read_pairs(folder, limit=n_drawn) for folder in folders]
    columns = [
        [pair for pair in found if half_of(pair) == half][:each] for half in PAIR_HALVES for found in drawn
    ]
    return [pair for row in zip_longest(*columns) for pair in row if pair is not None]


def measure(name: str, pairs: list[ImagePair], arguments: Namespace, deadline: float) -> bool:
    """Measure one model and write its rows; whether all was measured before the time was up."""
    folder = arguments.run / name
    model = MODELS[name](arguments.shared)
    methods = list(split_methods(arguments.methods))
    measures = arguments.measures.split(",") if arguments.measures else None

    def scores_of(half: str | None, **options: object) -> ExplanationScores:
        return evaluate_explanations(pairs, [model], methods, run=folder, half=half, **options)

    with shown_progress() as show:

        def progress(now: Progress) -> None:
            show(now)
            if time.monotonic() > deadline:
                raise TimeIsUp

        try:
            scores_of(arguments.half, measures=measures, progress=progress)
        except TimeIsUp:
            return False
        finally:  # when interrupted, too
            for half in (None, *PAIR_HALVES):
                write_rows(name, folder / (half or "all"), scores_of(half, recorded_only=True))
    return True


def write_rows(name: str, stem: Path, scores: ExplanationScores) -> None:
    """Write JSON for the tables, and a report."""
    found = {"made": describe_run(), "name": name, **scores.to_dict()}
    stem.with_suffix(".json").write_text(json.dumps(found, indent=1) + "\n")
    stem.with_suffix(".html").write_text(leaderboard_report(scores))


def measure_all(arguments: Namespace) -> None:
    """Measure the models one after the other until all is done or the time is up."""
    print(describe_run())
    deadline = time.monotonic() + 60 * arguments.minutes
    pairs = pairs_of(arguments.shared, arguments.run, arguments.pairs)
    for name in arguments.models.split(","):
        begun = time.monotonic()
        if begun > deadline and not (arguments.run / name).exists():
            print(f"{name}: not begun")
        elif measure(name, pairs, arguments, deadline):
            print(f"{name}: {len(pairs)} pairs in {(time.monotonic() - begun) / 60:.1f} minutes")
        else:
            print(f"{name}: stopped; run the same command again to go on")


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--pairs", type=int, default=24)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--methods", default=METHODS)
    parser.add_argument("--measures", help="measure only these now; others, and those written down, stay")
    parser.add_argument("--half", choices=PAIR_HALVES, help="only the pairs of one half")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after so many")
    parser.add_argument("--table", action="store_true", help="print tables of what was measured")
    parser.add_argument("--write", type=Path, metavar="FILE.md", help="write them between marks of a page")
    add_shared(parser)


def main() -> None:
    parser = parser_of(__doc__)
    add_arguments(parser)
    arguments = parser.parse_args()
    if unknown := set(arguments.models.split(",")) - set(MODELS):
        parser.error(f"models are {', '.join(MODELS)}; got {', '.join(sorted(unknown))}")
    if not arguments.table:
        measure_all(arguments)
        return
    text = tables_of(arguments.run, arguments.half or "all")
    if arguments.write:
        write_between_marks(arguments.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
