"""Plots of one ranking, or of two rankings of the same queries, written to a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from lookalike.errors import replacing
from lookalike.reports.plots.curves import Curve, average_precision_plot, precision_recall_plot, save_plot
from lookalike.reports.plots.rankings import Shown, ShownRanking, Verdict, ranking_plot

RECALL = torch.linspace(0, 1, 101)
N_SHOWN = 8  # results in a line
VERDICTS: tuple[Verdict, ...] = ("wrong", "right", "ignored")


@dataclass(frozen=True, eq=False)
class JudgedRanking:
    """One ranking of every query, with its metrics and verdicts."""

    name: str  # "before", "after aqe", ...
    average_precision: Tensor  # (Q,) float64; NaN for queries that don't count
    precision: Mapping[str, Tensor]  # difficulty: (101,) mean interpolated precision at RECALL
    best: Tensor  # (Q, K) int64 gallery rows, best first
    verdicts: Tensor  # (Q, K) int8, positions in VERDICTS


@dataclass(frozen=True, eq=False)
class RankingComparison:
    """A ranking, the one before it if there is one, and the images of queries and gallery."""

    title: str
    measure: str  # what average_precision is, for the axis: "medium AP", ...
    query_names: tuple[str, ...]
    query_image: Callable[[int], Image.Image] | None  # None if there are no images
    gallery_image: Callable[[int], Image.Image] | None
    after: JudgedRanking
    before: JudgedRanking | None = None


def write_plots(
    comparison: RankingComparison, folder: Path, *, shown: Sequence[int] | None = None
) -> list[Path]:
    """Write precision-recall.png, ap-per-query.png and a ranking-NAME.png for each query shown.

    Without ``shown``, queries with the largest gains and losses are chosen, or the best, middle and worst
    of a single ranking. Returns the paths. Raises LookalikeError if a file can't be written, ValueError
    for a query that does not exist.
    """
    sides = [side for side in (comparison.before, comparison.after) if side is not None]
    curves = [
        Curve(name, values.numpy(), side is comparison.before)
        for side in sides
        for name, values in side.precision.items()
    ]
    names = [f"{i} {name}" for i, name in enumerate(comparison.query_names)]
    ap = [side.average_precision.numpy() for side in sides]
    written = [
        save_plot(
            precision_recall_plot(RECALL.numpy().astype(np.float64), curves, title=comparison.title),
            folder / "precision-recall.png",
        ),
        save_plot(
            average_precision_plot(
                names,
                ap[-1],
                ap[0] if comparison.before else None,
                title=f"{comparison.title}: {comparison.measure}",
            ),
            folder / "ap-per-query.png",
        ),
    ]
    if comparison.query_image is None or comparison.gallery_image is None:
        return written
    for query in _chosen(comparison) if shown is None else shown:
        if not 0 <= query < len(names):
            raise ValueError(f"queries are numbered 0 to {len(names) - 1}, got {query}")
        path = folder / f"ranking-{query:03d}.png"
        with replacing(path) as file:
            _ranking(comparison, query).save(file)
        written.append(path)
    return written


def _chosen(comparison: RankingComparison, n: int = 4) -> list[int]:
    """Choose queries with large changes, or extreme ones of a single ranking."""
    after = comparison.after.average_precision
    value = after if comparison.before is None else after - comparison.before.average_precision
    counted = [i for i in value.argsort(descending=True).tolist() if not value[i].isnan()]
    if not counted:
        return []
    if comparison.before is None:
        return list(dict.fromkeys([counted[0], counted[len(counted) // 2], counted[-1]]))
    return list(dict.fromkeys([*counted[: n // 2], *counted[-(n // 2) :]]))


def _ranking(comparison: RankingComparison, query: int) -> Image.Image:
    assert comparison.query_image is not None
    sides = [side for side in (comparison.before, comparison.after) if side is not None]
    lines = [_line(comparison, side, query) for side in sides]
    change = " -> ".join(f"{float(side.average_precision[query]):.1%}" for side in sides)
    headline = f"query {query} · {comparison.query_names[query]} · {comparison.measure} {change}"
    return ranking_plot(comparison.query_image(query), headline, lines)


def _line(comparison: RankingComparison, side: JudgedRanking, query: int) -> ShownRanking:
    assert comparison.gallery_image is not None
    before = None
    if comparison.before is not None and side is not comparison.before:
        before = {row: rank for rank, row in enumerate(comparison.before.best[query].tolist(), 1)}
    results = [
        Shown(
            comparison.gallery_image(row),
            VERDICTS[int(verdict)],
            rank,
            None if before is None else before.get(row, 0),
        )
        for rank, (row, verdict) in enumerate(
            zip(side.best[query, :N_SHOWN].tolist(), side.verdicts[query, :N_SHOWN].tolist(), strict=True), 1
        )
    ]
    return ShownRanking(side.name, tuple(results))
