"""Measures against what is known of the images: masks, parts, homographies."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import torch
from torch import Tensor

from lookalike.evaluation.explanations.cases import ExplainedPair
from lookalike.evaluation.explanations.methods import CellCosines
from lookalike.evaluation.explanations.subjects import SeenImage
from lookalike.ops.map_truth import (
    best_cells,
    keypoint_accuracy,
    mask_auc,
    mass_inside,
    peak_is_inside,
    through_homography,
)


def mask_values(explained: ExplainedPair) -> dict[str, float | None]:
    """Peak, mass and AUC by the mask of what is shared; means over the sides that have one."""
    pairs = [
        (values, coverage)
        for values, coverage in zip(explained.maps, explained.case.coverages, strict=True)
        if coverage is not None
    ]
    if not pairs:
        return {"peak": None, "mass": None, "mask-auc": None}
    return {
        "peak": _mean([float(peak_is_inside(values, coverage)) for values, coverage in pairs]),
        "mass": _mean([mass_inside(values, coverage) for values, coverage in pairs]),
        "mask-auc": _mean([mask_auc(values, coverage) for values, coverage in pairs]),
    }


def matching_values(explained: ExplainedPair, measures: Collection[str]) -> dict[str, float | None]:
    """``pck`` and ``homography-hit``; None for methods that match no cells and pairs without truth."""
    values: dict[str, float | None] = dict.fromkeys({"pck", "homography-hit"} & set(measures))
    pair, similarity = explained.case.pair, explained.bound.cell_similarity
    names = sorted(set(pair.query.parts) & set(pair.match.parts))
    has_parts = "pck" in values and bool(names)
    has_homography = "homography-hit" in values and pair.homography is not None
    if similarity is None or not (has_parts or has_homography):
        return values
    cosines = similarity(*(side.reading for side in explained.case.sides))
    if has_parts:
        values["pck"] = _part_accuracy(explained, cosines, names)
    if has_homography:
        values["homography-hit"] = _homography_hits(explained, cosines)
    return values


def _part_accuracy(explained: ExplainedPair, cosines: CellCosines, names: list[str]) -> float | None:
    """Fraction of parts found to a tenth of the longer side of the match's box, or of the match."""
    query, match = explained.case.sides
    starts, true = [], []
    for name in names:
        cell = query.geometry.cell_at(*query.known.parts[name], cosines.query_grid)
        if cell is not None and match.geometry.cell_at(*match.known.parts[name], (1, 1)) is not None:
            starts.append(cell[0] * cosines.query_grid[1] + cell[1])
            true.append(match.known.parts[name])
    if not starts:
        return None
    found = best_cells(cosines.values, torch.tensor(starts))
    predicted = _centers(match, cosines.match_grid)[found]
    return keypoint_accuracy(predicted, torch.tensor(true, dtype=torch.float64), size=_longer_side(match))


def _homography_hits(explained: ExplainedPair, cosines: CellCosines) -> float | None:
    """Fraction of the query's cells whose best cell is the true one or touches it.

    Of the cells whose centers lie inside the match. Method ``random`` shows the level of chance, about
    9 / N.
    """
    query, match = explained.case.sides
    homography = explained.case.pair.homography
    assert homography is not None
    # A homography counts pixel centers in whole numbers, a geometry in halves.
    centers = _centers(query, cosines.query_grid) - 0.5
    moved = through_homography(centers, torch.from_numpy(np.asarray(homography, float))) + 0.5
    hits = []
    best = cosines.values.argmax(1).tolist()
    for (x, y), found in zip(moved.tolist(), best, strict=True):
        true = match.geometry.cell_at(x, y, cosines.match_grid) if np.isfinite([x, y]).all() else None
        if true is not None:
            row, column = divmod(found, cosines.match_grid[1])
            hits.append(float(max(abs(row - true[0]), abs(column - true[1])) <= 1))
    return _mean(hits) if hits else None


def _centers(side: SeenImage, grid: tuple[int, int]) -> Tensor:
    """Centers (x, y) of the cells in pixels of the original: (N, 2) float64, row by row."""
    boxes = [side.geometry.cell_box(row, column, grid) for row in range(grid[0]) for column in range(grid[1])]
    edges = torch.tensor(boxes, dtype=torch.float64)
    return (edges[:, :2] + edges[:, 2:]) / 2


def _longer_side(match: SeenImage) -> float:
    height, width = match.geometry.original_size
    left, top, right, bottom = match.known.box or (0.0, 0.0, float(width), float(height))
    return float(max(right - left, bottom - top))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
