"""The leaderboard of docs/explanations.md: methods on embeddings over real and generated pairs.

    uv run python benchmarks/explanations.py --run FOLDER [--pairs 12] [--jobs 2] [--minutes 60]
    uv run python benchmarks/explanations.py --run FOLDER --models mini,osnet --half choose
    uv run python benchmarks/explanations.py --run FOLDER --table [--write docs/explanations.md]

Pairs come in equal parts from birds (parts), butterflies and paintings (masks), groceries (labels),
HPatches (homographies) and generated rooms (masks), and from both halves of the fixed split. Each pair is
written down when it is done: interrupt the run, or end it after some minutes, and start it again with the
same arguments to go on. Each model has a folder of its own inside the run's, so models can be added later.
With ``--jobs`` so many models are measured at once, each by a process with one thread, whose progress goes
to FOLDER/MODEL.log. ``--minutes 0`` only writes the rows of what was measured, and ``--table`` measures
nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from argparse import ArgumentParser, Namespace
from concurrent.futures import ThreadPoolExecutor
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
    "shares:layer=0,reference=both,shares:layer=-1,leave-one-out:cells=8,leave-tokens-out,occlusion:cells=7,"
    "rise:masks=64,gradient-input,integrated-gradients:steps=8,gradcam,legrad,rollout,rollout-conserving"
)


class TimeIsUp(Exception):
    """The minutes of this call are over."""


def pairs_of(shared: Path, run: Path, n: int) -> list[ImagePair]:
    """About n pairs, as many from each set and in each half; in turn, so that the first are of every kind."""
    each = -(-n // (2 * (len(SETS) + 1)))  # of a set in a half
    n_drawn = 12 * each  # enough to have so many of both halves
    rooms = run / f"rooms-{n_drawn}"
    if not (rooms / "pairs.csv").exists():  # which is written last
        write_room_pairs(rooms, n_drawn)
    folders = [rooms, *(shared / "data" / name for name in SETS)]
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


def measure_at_once(arguments: Namespace) -> None:
    """Measure as many models at once as there are jobs, the transformers first, which take longest."""
    names = sorted(arguments.models.split(","), key=lambda name: not name.startswith("vit"))
    given = [*sys.argv[1:], "--jobs", "1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    arguments.run.mkdir(parents=True, exist_ok=True)
    pairs_of(arguments.shared, arguments.run, arguments.pairs)  # writes the rooms, which all share

    def job(name: str) -> str:
        log = arguments.run / f"{name}.log"
        with log.open("w") as file:
            command = [sys.executable, __file__, *given, "--models", name]
            code = subprocess.run(command, env=environment, stdout=file, stderr=file).returncode
        return log.read_text().splitlines()[-1] if code == 0 else f"{name}: failed; {log} says why"

    print(describe_run())
    begun = time.monotonic()
    with ThreadPoolExecutor(arguments.jobs) as pool:
        for said in pool.map(job, names):
            print(f"{(time.monotonic() - begun) / 60:.0f} minutes: {said}", flush=True)


def add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--pairs", type=int, default=12)
    parser.add_argument("--jobs", type=int, default=1, help="models measured at once")
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
        (measure_at_once if arguments.jobs > 1 else measure_all)(arguments)
        return
    text = tables_of(arguments.run, arguments.half or "all")
    if arguments.write:
        write_between_marks(arguments.write, text)
    else:
        print(text)


if __name__ == "__main__":
    main()
