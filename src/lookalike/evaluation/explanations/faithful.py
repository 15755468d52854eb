"""Measures of faithfulness: what the similarity does when cells are hidden in the order of a map.

As FIxLIP measures it (Baniecki et al., NeurIPS 2025) and Sammani et al., TIP 2023.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from lookalike.evaluation.explanations.cases import ExplainedPair, PairCase
from lookalike.evaluation.explanations.hiding import (
    FILLS,
    blended,
    hidden,
    most_important,
    upsampled,
)
from lookalike.ops.faithfulness import (
    area_under,
    average_drop,
    insertion_deletion_area,
    mask_fit,
    scaled_curve,
)

HIDING_STEPS = 8  # parts of the image, hidden one after the other
_LEAST_CHANGE = 0.1  # of the similarity when everything is hidden; pairs with less say nothing


@dataclass(frozen=True, eq=False)
class PairCurves:
    """Similarities of one pair as cells are shown and hidden, the most important first: (S + 1,) each."""

    insertion: Tensor
    deletion: Tensor

    def scaled(self) -> PairCurves:
        """Full at 1 and empty at 0."""
        full, empty = float(self.deletion[0]), float(self.insertion[0])
        curves = (scaled_curve(curve, full=full, empty=empty) for curve in (self.insertion, self.deletion))
        return PairCurves(*curves)

    def to_dict(self) -> dict[str, list[float]]:
        """As lists, rounded."""
        return {
            name: [round(v, 5) for v in getattr(self, name).tolist()] for name in ("insertion", "deletion")
        }


def pair_curves(explained: ExplainedPair, measures: Collection[str]) -> dict[str, PairCurves]:
    """The curves that some of the measures need, by ``aid-`` measure; one image hidden, or both.

    Without those where hiding everything changes too little to say anything.
    """
    asked = set(measures)
    if asked & {"insertion", "deletion"}:
        asked.add("aid-blur")
    wanted = {name for name in asked if name.startswith("aid-") and _loses_enough(explained.case, name)}
    found: dict[str, PairCurves] = {}
    for fill in FILLS:
        one, both = f"aid-{fill}", "aid-both" if fill == "blur" else ""
        if wanted & {one, both}:
            units = [_cell_units(explained, side, fill) for side in (0, 1)]
            found |= {one: _one_hidden(explained.case, units)} if one in wanted else {}
            found |= {both: _both_hidden(units)} if both in wanted else {}
    if "aid-pixels" in wanted:
        units = [_pixel_units(explained, side, "blur") for side in (0, 1)]
        found["aid-pixels"] = _one_hidden(explained.case, units)
    return found


def faithful_values(
    explained: ExplainedPair, measures: Collection[str], curves: dict[str, PairCurves]
) -> dict[str, float | None]:
    """AID, insertion, deletion, drop and the fit of sums, as far as they are asked for."""
    scaled = {name: curve.scaled() for name, curve in curves.items()}
    values: dict[str, float | None] = {
        name: insertion_deletion_area(curve.insertion, curve.deletion) for name, curve in scaled.items()
    }
    blur = scaled.get("aid-blur")
    values["insertion"] = None if blur is None else area_under(blur.insertion)
    values["deletion"] = None if blur is None else area_under(blur.deletion)
    if "drop" in measures:
        values["drop"] = _drop(explained)
    if {"fit-r2", "fit-spearman"} & set(measures):
        values["fit-r2"], values["fit-spearman"] = _fit(explained)
    return values


def _loses_enough(case: PairCase, measure: str) -> bool:
    """Whether the similarity falls by enough when all that the measure hides is hidden."""
    empty = case.filled_units(
        "blur" if measure in ("aid-both", "aid-pixels") else measure.removeprefix("aid-")
    )
    others = empty[[1, 0]] if measure == "aid-both" else case.units[[1, 0]]
    return case.similarity - float((empty * others).sum(1).mean()) >= _LEAST_CHANGE


# --- embeddings of what is left of an image -------------------------------------------------------


def _cell_units(explained: ExplainedPair, side: int, fill: str) -> Tensor:
    """With the k most important cells alone, and with all but them: (2, S + 1, D)."""
    case = explained.case
    top = most_important(explained.maps[side].flatten(), HIDING_STEPS)[1:-1]
    image, other = case.sides[side].pixels, case.fills(fill)[side]
    images = hidden(image, other, torch.cat([~top, top]), case.grids[side])
    return _with_ends(case, side, fill, case.subject.units(images))


def _pixel_units(explained: ExplainedPair, side: int, fill: str) -> Tensor:
    case = explained.case
    image, other = case.sides[side].pixels, case.fills(fill)[side]
    map_ = (explained.explanation.query, explained.explanation.match)[side]
    size = image.shape[0], image.shape[1]
    top = most_important(upsampled(map_.values, size).flatten(), HIDING_STEPS)[1:-1]
    images = hidden(image, other, torch.cat([~top, top]), size)
    return _with_ends(case, side, fill, case.subject.units(images))


def _with_ends(case: PairCase, side: int, fill: str, between: Tensor) -> Tensor:
    full, empty = case.units[side][None], case.filled_units(fill)[side][None]
    shown, less = between.chunk(2)
    return torch.stack([torch.cat([empty, shown, full]), torch.cat([full, less, empty])])


def _one_hidden(case: PairCase, units: list[Tensor]) -> PairCurves:
    """The mean of hiding cells of the query and of the match."""
    curves = sum(units[side] @ case.units[1 - side] for side in (0, 1)) / 2  # (2, S + 1)
    assert isinstance(curves, Tensor)
    return PairCurves(curves[0], curves[1])


def _both_hidden(units: list[Tensor]) -> PairCurves:
    """Cells of both images hidden together, as many of each; needs no other embeddings."""
    curves = (units[0] * units[1]).sum(-1)
    return PairCurves(curves[0], curves[1])


# --- without an order -----------------------------------------------------------------------------


def _drop(explained: ExplainedPair) -> float | None:
    """Average drop when each image is blended with its blur, by the positive part of its map."""
    case = explained.case
    sides = (explained.explanation.query, explained.explanation.match)
    drops = []
    for i, side in enumerate(sides):
        image = case.sides[i].pixels
        weights = upsampled(side.values, (image.shape[0], image.shape[1])).clamp(min=0)
        weights = weights / weights.max().clamp(min=1e-12)
        kept = case.subject.units([blended(image, np.asarray(case.fills("blur")[i]), weights)])[0]
        if case.similarity <= 0:
            return None
        drops.append(average_drop(case.similarity, float(kept @ case.units[1 - i])))
    return sum(drops) / 2


def _fit(explained: ExplainedPair) -> tuple[float, float]:
    """R² and Spearman correlation of sums over random halves with the true similarities."""
    fits = [
        mask_fit(values.flatten(), kept, similarities.float())
        for values, (kept, similarities) in zip(explained.maps, explained.case.random_masks, strict=True)
    ]
    return sum(fit[0] for fit in fits) / 2, sum(fit[1] for fit in fits) / 2
