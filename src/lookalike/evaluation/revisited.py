"""Metrics of the revisited Oxford and Paris protocol, from ranks or from scores in blocks.

Only the positions of the images that the ground truth lists are kept, so a million distractors cost
time but no memory, and nothing is sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from lookalike.datasets.revisited import RevisitedTruth
from lookalike.errors import DatasetError
from lookalike.ops.neighbors import largest_k
from lookalike.ops.revisited import (
    NOWHERE,
    clear_positions,
    count_ahead,
    order_keys,
    positions_in_ranks,
    precision_within,
    trapezoidal_average_precision,
)

KS = (1, 5, 10)  # of mP@k
DIFFICULTIES: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {  # name: (positives, junk)
    "easy": (("easy",), ("junk", "hard")),
    "medium": (("easy", "hard"), ("junk",)),
    "hard": (("hard",), ("junk", "easy")),
}

Blocks = Callable[[], Iterable[Tensor]]  # scores (Q, B) of the gallery's rows in order; called twice


@dataclass(frozen=True, eq=False, repr=False)
class DifficultyMetrics:
    """Metrics of a ranking at one difficulty; NaN for a query without positives."""

    positions: Tensor  # (Q, P) int64 positions of the positives without junk, ascending, then NOWHERE
    average_precision: Tensor  # (Q,) float64 in [0, 1]
    precision: Tensor  # (Q, 3) float64 in [0, 1], within KS

    @property
    def is_counted(self) -> Tensor:
        """Mask of queries that have positives and count in the means: (Q,) bool."""
        return ~self.average_precision.isnan()

    @property
    def revisited_map(self) -> float:
        """Mean over counted queries of trapezoidal average precision; NaN if there are none."""
        return float(self.average_precision[self.is_counted].mean())

    @property
    def mean_precision(self) -> tuple[float, ...]:
        """mP@k over counted queries for KS."""
        return tuple(self.precision[self.is_counted].mean(0).tolist())

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics in JSON types: map, mp@k, n_queries and the ap of each query."""
        return {
            "map": _number(self.revisited_map),
            **{f"mp@{k}": _number(value) for k, value in zip(KS, self.mean_precision, strict=True)},
            "n_queries": int(self.is_counted.sum()),
            "ap": [_number(value) for value in self.average_precision.tolist()],
        }

    def __repr__(self) -> str:
        return f"<DifficultyMetrics: mAP {self.revisited_map:.1%} over {int(self.is_counted.sum())} queries>"


@dataclass(frozen=True, eq=False, repr=False)
class RevisitedMetrics:
    """Metrics of one ranking of a gallery, by the protocol."""

    truth: RevisitedTruth
    n_gallery: int  # images ranked, distractors included
    by_difficulty: Mapping[str, DifficultyMetrics]  # easy, medium, hard
    best: Tensor  # (Q, K) int64 gallery rows, best first; K = 0 unless asked for

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Return the metrics of each difficulty in JSON types, in [0, 1]; None for what has no value."""
        return {name: each.to_dict() for name, each in self.by_difficulty.items()}

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {each.revisited_map:.1%}" for name, each in self.by_difficulty.items())
        return f"<RevisitedMetrics on {self.truth.name}: mAP {values}>"


def metrics_of_ranks(
    truth: RevisitedTruth, ranks: Tensor, *, n_distractors: int = 0, n_best: int = 0
) -> RevisitedMetrics:
    """Compute the metrics of ranks (G, Q) int: column q holds every gallery row once, best first.

    Distractors are the rows after those of the ground truth. ``n_best`` results of each query are kept.
    Raises DatasetError for ranks of another size than the dataset's, and for repeated or missing images.

    Radenović et al., *Revisiting Oxford and Paris*, CVPR 2018.
    """
    if ranks.ndim != 2 or ranks.is_floating_point() or ranks.dtype == torch.bool:
        raise DatasetError(
            f"ranks should be integers of shape (gallery, queries), got {ranks.dtype} {tuple(ranks.shape)}"
        )
    _check_size(truth, ranks.shape[1], ranks.shape[0], n_distractors, "ranks", "columns", "rows")
    try:
        positions = positions_in_ranks(ranks, listed_rows(truth))
    except ValueError as error:
        raise DatasetError(str(error)) from error
    return _judged(truth, positions, len(ranks), ranks[:n_best].T.long())


def metrics_of_scores(
    truth: RevisitedTruth, gallery: Blocks, distractors: Iterable[Tensor] = (), *, n_best: int = 0
) -> RevisitedMetrics:
    """Compute the metrics of scores, higher is better, in blocks (Q, B) float of gallery rows.

    Scores that are equal as float32 are ranked in the order of the rows. ``gallery`` is called twice: for
    the scores of the images that the ground truth lists, and to count what ranks ahead of them, in the
    gallery and among the distractors. Raises DatasetError for NaN or another size than the dataset's.
    """
    listed = listed_rows(truth)
    rows = listed.clamp(min=0)
    scores = _scores_of(truth, rows, gallery)
    keys, order = order_keys(scores, rows).sort(dim=1)
    ahead, first_row = torch.zeros_like(rows), 0
    best_scores, best = torch.empty(len(rows), 0), torch.empty(len(rows), 0, dtype=torch.long)
    for block in chain(gallery(), distractors):
        _check_finite(block, first_row)
        # A listed image is compared with its own score to the bit, whichever block computed it.
        own = torch.where((rows >= first_row) & (rows < first_row + block.shape[1]), rows - first_row, -1)
        query, slot = (own >= 0).nonzero(as_tuple=True)
        block = block.float()
        if len(query):
            block = block.index_put((query, own[query, slot]), scores[query, slot])
        ahead += count_ahead(keys, block, first_row)
        if n_best:
            top, columns = largest_k(block, n_best)
            best_scores, kept = largest_k(torch.cat([best_scores, top], dim=1), n_best)
            best = torch.cat([best, columns + first_row], dim=1).gather(1, kept)
        first_row += block.shape[1]
    positions = torch.empty_like(ahead).scatter_(1, order, ahead).masked_fill(listed < 0, NOWHERE)
    return _judged(truth, positions, first_row, best)


def listed_rows(truth: RevisitedTruth) -> Tensor:
    """Gallery rows that the ground truth lists for each query, easy, hard, junk: (Q, L) int64, then -1."""
    lists = [(*e, *h, *j) for e, h, j in zip(truth.easy, truth.hard, truth.junk, strict=True)]
    return _padded(lists, -1)


def grade_masks(truth: RevisitedTruth) -> dict[str, Tensor]:
    """Masks of ``listed_rows`` that are easy, hard and junk: (Q, L) bool each."""
    grades = [
        [0] * len(e) + [1] * len(h) + [2] * len(j)
        for e, h, j in zip(truth.easy, truth.hard, truth.junk, strict=True)
    ]
    codes = _padded(grades, -1)
    return {name: codes == code for code, name in enumerate(("easy", "hard", "junk"))}


def _judged(truth: RevisitedTruth, positions: Tensor, n_gallery: int, best: Tensor) -> RevisitedMetrics:
    grades = grade_masks(truth)
    by_difficulty = {}
    for name, (positives, junk) in DIFFICULTIES.items():
        is_positive, is_junk = (_any(grades, kinds) for kinds in (positives, junk))
        cleared = clear_positions(positions, is_positive, is_junk)
        by_difficulty[name] = DifficultyMetrics(
            cleared,
            trapezoidal_average_precision(cleared),
            torch.stack([precision_within(cleared, k) for k in KS], dim=1),
        )
    return RevisitedMetrics(truth, n_gallery, by_difficulty, best)


def _any(grades: Mapping[str, Tensor], kinds: Iterable[str]) -> Tensor:
    return torch.stack([grades[kind] for kind in kinds]).any(0)


def _scores_of(truth: RevisitedTruth, rows: Tensor, gallery: Blocks) -> Tensor:
    """Scores (Q, L) of the gallery rows (Q, L)."""
    scores = torch.zeros(rows.shape)
    first_row, n_queries = 0, len(truth)
    for block in gallery():
        n_queries = block.shape[0]
        if n_queries != len(truth):
            break
        inside = (rows >= first_row) & (rows < first_row + block.shape[1])
        columns = torch.where(inside, rows - first_row, 0)
        scores = torch.where(inside, block.float().gather(1, columns), scores)
        first_row += block.shape[1]
    _check_size(truth, n_queries, first_row, 0, "scores", "rows", "columns")
    return scores


def _check_size(
    truth: RevisitedTruth, n_queries: int, n_gallery: int, n_distractors: int, what: str, *axes: str
) -> None:
    if n_queries != len(truth):
        raise DatasetError(
            f"{what} have {n_queries} {axes[0]}, but the ground truth {truth.name} has {len(truth)} queries; "
            "are they of another dataset, or transposed?"
        )
    expected = truth.n_images + n_distractors
    if n_gallery < expected or (truth.images and n_gallery != expected):
        beside = f" and {n_distractors} distractors" if n_distractors else ""
        raise DatasetError(
            f"{what} have {n_gallery} {axes[1]}, but the ground truth {truth.name} has "
            f"{truth.n_images} images{beside}; are they of another dataset, or is the number of "
            "distractors missing?"
        )


def _check_finite(block: Tensor, first_row: int) -> None:
    if block.isnan().any():
        query, column = (int(i) for i in block.isnan().nonzero()[0])
        raise DatasetError(
            f"scores hold NaN, first for query {query} and gallery row {first_row + column}; "
            "compute them again"
        )


def _padded(lists: Iterable[Iterable[int]], value: int) -> Tensor:
    rows = [torch.tensor(list(each), dtype=torch.long) for each in lists]
    return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)


def _number(value: float) -> float | None:
    return None if value != value else value
