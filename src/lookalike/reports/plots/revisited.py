"""An evaluation by the revisited protocol, prepared for plots."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from lookalike.datasets.revisited import QueryBox, RevisitedTruth, find_images
from lookalike.evaluation.revisited import DIFFICULTIES, RevisitedMetrics, grade_masks, listed_rows
from lookalike.evaluation.revisited_images import cropped
from lookalike.evaluation.revisited_runs import RevisitedRun
from lookalike.images import Preprocessing
from lookalike.ops.revisited import precision_at_recall
from lookalike.reports.plots.before_after import RECALL, JudgedRanking, RankingComparison

_UNSCALED = Preprocessing("squash", (224, 224))  # a mode that crops boxes without shrinking them


def revisited_comparison(
    run: RevisitedRun, folder: Path | None, *, difficulty: str = "medium", crop: bool = True
) -> RankingComparison:
    """Prepare the plots of a run; ``folder`` holds the benchmark's images, if available.

    Framed results and average precision are those of one difficulty, the curves of all three. Raises
    ValueError for an unknown difficulty, DatasetError for missing images.
    """
    if difficulty not in DIFFICULTIES:
        raise ValueError(f"the difficulty is one of {', '.join(DIFFICULTIES)}; got {difficulty!r}")
    truth = run.metrics.truth
    query_image = gallery_image = None
    if folder is not None and truth.images and truth.queries:
        boxes = truth.boxes if crop else (None,) * len(truth)
        query_image = partial(_image, find_images(truth.queries, folder), boxes)
        gallery_image = partial(_image, find_images(truth.images, folder), (None,) * len(truth.images))
    after = "ranking" if run.before is None else "after"
    return RankingComparison(
        title=truth.name,
        measure=f"{difficulty} AP",
        query_names=truth.queries or tuple("" for _ in range(len(truth))),
        query_image=query_image,
        gallery_image=gallery_image,
        after=_judged(run.metrics, after, difficulty),
        before=None if run.before is None else _judged(run.before, "before", difficulty),
    )


def _image(files: Sequence[Path], boxes: Sequence[QueryBox | None], row: int) -> Image.Image:
    if row >= len(files):  # a distractor, whose image is not available
        return Image.new("RGB", (64, 48), (205, 208, 213))
    return cropped(files[row], boxes[row], _UNSCALED)


def _judged(metrics: RevisitedMetrics, name: str, difficulty: str) -> JudgedRanking:
    curves = {
        each: precision_at_recall(of.positions, RECALL)[of.is_counted].mean(0)
        for each, of in metrics.by_difficulty.items()
        if of.is_counted.any()
    }
    ap = metrics.by_difficulty[difficulty].average_precision
    return JudgedRanking(name, ap, curves, metrics.best, _verdicts(metrics.truth, metrics.best, difficulty))


def _verdicts(truth: RevisitedTruth, best: torch.Tensor, difficulty: str) -> torch.Tensor:
    """Codes of the best rows (Q, K): 1 positive, 2 junk, 0 neither."""
    listed, masks = listed_rows(truth), grade_masks(truth)
    is_same = best[:, :, None] == listed[:, None, :]  # (Q, K, L)
    verdicts = torch.zeros(best.shape, dtype=torch.int8)
    for code, kinds in enumerate(DIFFICULTIES[difficulty], 1):
        mask = torch.stack([masks[kind] for kind in kinds]).any(0)
        verdicts[(is_same & mask[:, None, :]).any(2)] = code
    return verdicts
