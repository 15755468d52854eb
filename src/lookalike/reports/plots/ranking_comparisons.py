"""Rankings of labeled images or galleries before and after re-ranking, for plots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor

from lookalike import images
from lookalike.evaluation.labeled import LabeledEmbeddings, check_can_be_judged
from lookalike.evaluation.retrieval import label_codes
from lookalike.evaluation.revisited_runs import N_BEST
from lookalike.ops.metrics_per_query import average_precisions
from lookalike.ops.revisited import NOWHERE, clear_positions, positions_in_ranks, precision_at_recall
from lookalike.reports.plots.before_after import RECALL, JudgedRanking, RankingComparison, write_plots
from lookalike.reports.plots.revisited import revisited_comparison
from lookalike.rerankers import first_stage, full_ranks, make_reranker
from lookalike.types import ProgressCallback, Ranking, tracked

__all__ = ["compare_rankings", "mean_average_precision", "revisited_comparison", "write_plots"]

_BLOCK = 64  # queries whose whole order is held at once


def compare_rankings(
    queries: LabeledEmbeddings | None,
    gallery: LabeledEmbeddings,
    method: str,
    *,
    k: int = 100,
    progress: ProgressCallback | None = None,
    **options: Any,
) -> RankingComparison:
    """Rank the gallery before and after a re-ranker; without queries each image queries all others.

    A result is right if it has the query's label; an image is no result of itself. Average precision is
    the mean, over all right images, of precision at their rank. ``options`` are those of the re-ranker.
    Raises DatasetError if nothing can be judged.
    """
    check_can_be_judged(queries or gallery, None if queries is None else gallery)
    reranker = make_reranker(method, **options)
    asked = queries or gallery
    depth = min(k + (queries is None), len(gallery))
    before, after = (
        _RankingJudge(asked, gallery, queries is None),
        _RankingJudge(asked, gallery, queries is None),
    )
    starts = range(0, len(asked), _BLOCK)
    for start in tracked(starts, "re-ranking", len(starts), progress):
        rows = torch.arange(start, min(start + _BLOCK, len(asked)))
        first = first_stage(asked.values[rows], gallery.values, k=depth)
        before.add(rows, first, first)
        after.add(rows, first, reranker(first))
    names = asked.labels if asked.paths is None else tuple(path.name for path in asked.paths)
    return RankingComparison(
        title=", ".join(filter(None, [_short(gallery.source), gallery.model])),
        measure="AP",
        query_names=names,
        query_image=None if asked.paths is None else partial(_image, asked.paths),
        gallery_image=None if gallery.paths is None else partial(_image, gallery.paths),
        after=after.judged(f"after {method}"),
        before=before.judged("before"),
    )


def mean_average_precision(comparison: RankingComparison) -> tuple[float, float]:
    """mAP over queries with a match, before and after, in [0, 1]; the same if there is one ranking."""
    before, after = comparison.before or comparison.after, comparison.after
    return float(before.average_precision.nanmean()), float(after.average_precision.nanmean())


class _RankingJudge:
    """Judges one ranking of all queries, block by block."""

    def __init__(self, asked: LabeledEmbeddings, gallery: LabeledEmbeddings, is_self: bool) -> None:
        self._asked_codes, self._gallery_codes = label_codes(asked, gallery)
        self._is_self = is_self
        self._average_precision: list[Tensor] = []
        self._precision: list[Tensor] = []
        self._best: list[Tensor] = []
        self._verdicts: list[Tensor] = []

    def add(self, rows: Tensor, first: Ranking, ranking: Ranking) -> None:
        """Judge a block of queries."""
        ranks = full_ranks(first, ranking)  # (G, B)
        is_right = self._gallery_codes == self._asked_codes[rows, None]  # (B, G)
        own = torch.zeros_like(is_right)
        if self._is_self:
            own[torch.arange(len(rows)), rows] = True
        listed = torch.arange(len(self._gallery_codes)).expand(len(rows), -1).contiguous()
        cleared = clear_positions(positions_in_ranks(ranks, listed), is_right & ~own, own)
        self._average_precision.append(_average_precisions_or_nan(cleared))
        self._precision.append(precision_at_recall(cleared, RECALL))
        best = ranks[: N_BEST + self._is_self].T
        if self._is_self:
            best = _without(best, rows)
        self._best.append(best)
        self._verdicts.append(is_right.gather(1, best).to(torch.int8))

    def judged(self, name: str) -> JudgedRanking:
        """Join all blocks."""
        ap = torch.cat(self._average_precision)
        precision = torch.cat(self._precision)[~ap.isnan()].mean(0)
        return JudgedRanking(name, ap, {"": precision}, torch.cat(self._best), torch.cat(self._verdicts))


def _average_precisions_or_nan(positions: Tensor) -> Tensor:
    """(Q,) float64 from positions (Q, P) of what is right; NaN for queries without any."""
    ranks = (positions + 1).double().masked_fill(positions == NOWHERE, torch.inf)
    result = torch.full((len(ranks),), torch.nan, dtype=torch.float64)
    has_match = ranks.isfinite().any(1)
    result[has_match] = average_precisions(ranks[has_match])
    return result


def _without(best: Tensor, rows: Tensor) -> Tensor:
    """The lists (B, K) without the query itself, or else without the last: (B, K - 1)."""
    order = (best == rows[:, None]).long().argsort(dim=1, stable=True)
    return best.gather(1, order)[:, :-1]


def _short(source: str) -> str:
    """The last two folders of a path; titles have little room."""
    return "/".join(source.split("/")[-2:])


def _image(paths: Sequence[Path], row: int) -> Image.Image:
    return images.load(paths[row]).image
