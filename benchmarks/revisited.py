"""Speed of the revisited protocol's metrics, and cost of a million distractors.

    uv run python benchmarks/revisited.py

Three parts: 70 queries x 1,000,000 ranks at three difficulties, against the same metrics computed
by walking down the ranks in a Python loop and by NumPy's membership tests (``isin`` on every column
and difficulty, with a loop over positives and junk, as evaluation scripts usually do); a gallery of
4,993 images with a million distractors streamed from disk; the memory that all scores would take.
Loops are measured on few queries and multiplied.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from environment import describe_run, parser_of
from numpy.typing import NDArray

from lookalike.datasets.revisited import RevisitedTruth
from lookalike.evaluation.revisited import (
    DIFFICULTIES,
    KS,
    RevisitedMetrics,
    metrics_of_ranks,
)
from lookalike.evaluation.revisited_runs import DescriptorSettings, run_on_descriptors
from lookalike.evaluation.vector_blocks import ROWS

N_QUERIES, N_IMAGES = 70, 4_993
Rows = NDArray[np.int64]


def random_truth(rng: np.random.Generator) -> RevisitedTruth:
    """As many listed images as revisited Oxford has on average: 44 easy, 34 hard, 63 junk."""
    listed = [rng.permutation(N_IMAGES)[:141] for _ in range(N_QUERIES)]
    easy, hard, junk = (
        tuple(tuple(rows[part].tolist()) for rows in listed)
        for part in (slice(0, 44), slice(44, 78), slice(78, 141))
    )
    names = tuple(map(str, range(N_IMAGES)))
    return RevisitedTruth("made", "", names, (), (None,) * N_QUERIES, easy, hard, junk)


def sides(truth: RevisitedTruth, query: int, difficulty: str) -> tuple[Rows, Rows]:
    lists = {"easy": truth.easy[query], "hard": truth.hard[query], "junk": truth.junk[query]}
    positive, junk = (
        np.array([row for kind in kinds for row in lists[kind]]) for kinds in DIFFICULTIES[difficulty]
    )
    return positive, junk


def walked(column: Rows, positive: Rows, junk: Rows) -> list[float]:
    """One query by the definition: one ranked image after the other."""
    positives, ignored = set(positive.tolist()), set(junk.tolist())
    hits: list[int] = []
    rank, area = 0, 0.0
    for image in column.tolist():
        if image in ignored:
            continue
        if image in positives:
            before = 1.0 if rank == 0 else len(hits) / rank
            hits.append(rank + 1)
            area += (before + len(hits) / (rank + 1)) / 2 / len(positives)
        rank += 1
    return [area] + [sum(hit <= min(k, hits[-1]) for hit in hits) / min(k, hits[-1]) for k in KS]


def by_membership(column: Rows, positive: Rows, junk: Rows) -> list[float]:
    """One query with whole-column membership tests, then a loop over positives."""
    found_at = np.arange(len(column))[np.isin(column, positive)]
    ignored = np.arange(len(column))[np.isin(column, junk)]
    area, cleared = 0.0, []
    for found, position in enumerate(found_at):
        rank = int(position - (ignored < position).sum())
        before = 1.0 if rank == 0 else found / rank
        area += (before + (found + 1) / (rank + 1)) / 2 / len(positive)
        cleared.append(rank + 1)
    last = max(cleared)
    return [area] + [sum(rank <= min(k, last) for rank in cleared) / min(k, last) for k in KS]


def judge_by(
    one: Callable[..., list[float]], truth: RevisitedTruth, ranks: Rows, n: int
) -> NDArray[np.float64]:
    return np.array(
        [
            [one(np.ascontiguousarray(ranks[:, q]), *sides(truth, q, name)) for name in DIFFICULTIES]
            for q in range(n)
        ]
    )  # (n, 3, 4)


def as_array(metrics: RevisitedMetrics, n: int) -> NDArray[np.float64]:
    columns = [
        torch.cat([each.average_precision[:n, None], each.precision[:n]], dim=1)
        for each in metrics.by_difficulty.values()
    ]
    return torch.stack(columns, dim=1).numpy()


def fastest(work: Callable[[], object], repeats: int) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def evaluation(truth: RevisitedTruth, n_ranked: int, n_walked: int, repeats: int) -> None:
    rng = np.random.default_rng(1)
    ranks = np.empty((n_ranked, N_QUERIES), dtype=np.int64)
    for query in range(N_QUERIES):
        ranks[:, query] = rng.permutation(n_ranked)
    n_distractors = n_ranked - N_IMAGES
    metrics = metrics_of_ranks(truth, torch.from_numpy(ranks), n_distractors=n_distractors)
    ours = fastest(
        lambda: metrics_of_ranks(truth, torch.from_numpy(ranks), n_distractors=n_distractors), repeats
    )
    print(f"{N_QUERIES} queries x {n_ranked:,} ranks, three difficulties, ranks checked: {ours:.2f} s")
    for name, one in (("walk down the ranks", walked), ("membership tests", by_membership)):
        expected = judge_by(one, truth, ranks, n_walked)
        assert np.abs(expected - as_array(metrics, n_walked)).max() < 1e-12, name
        seconds = (
            fastest(lambda one=one: judge_by(one, truth, ranks, n_walked), repeats) / n_walked * N_QUERIES
        )  # type: ignore[misc]
        measured = f"{n_walked} queries measured, same metrics"
        print(f"  {name}: {seconds:.1f} s ({measured}), ratio {seconds / ours:.1f}x")


def write_normal(path: Path, n: int, width: int, rng: np.random.Generator) -> None:
    """A .npy of normal numbers, written in small parts: a memory map would count as memory."""
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (n, width)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, n, ROWS):
            file.write(rng.standard_normal((min(ROWS, n - start), width), dtype=np.float32).tobytes())


def streaming(truth: RevisitedTruth, n_distractors: int, width: int) -> None:
    rng = np.random.default_rng(2)
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{name}.npy" for name in ("queries", "gallery", "distractors")]
        for path, n in zip(paths, (N_QUERIES, N_IMAGES, n_distractors), strict=True):
            write_normal(path, n, width, rng)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        settings = DescriptorSettings(distractors=(paths[2],))
        start_time = time.perf_counter()
        run_on_descriptors(truth, paths[0], paths[1], settings)
        seconds = time.perf_counter() - start_time
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    size, scores = (n_distractors * n * 4 / 2**20 for n in (width, N_QUERIES))
    print(
        f"{N_IMAGES:,} images + {n_distractors:,} distractors of width {width} on disk ({size:,.0f} MiB): "
        f"{seconds:.1f} s, hashes of the files included; peak memory grew by {grown:,.0f} MiB "
        f"(all scores would take {scores:,.0f} MiB, their ranks twice that)"
    )


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--ranked", type=int, default=1_000_000)
    parser.add_argument("--distractors", type=int, default=1_000_000)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--walked", type=int, default=3, help="queries for the loops")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1, help="of torch; the loops have one")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(describe_run())
    truth = random_truth(np.random.default_rng(0))
    streaming(truth, arguments.distractors, arguments.width)  # first: memory peaks never fall
    evaluation(truth, arguments.ranked, arguments.walked, arguments.repeats)


if __name__ == "__main__":
    main()
