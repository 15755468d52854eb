"""The measures by name, and all of them of one pair under one method."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from lookalike.errors import check_name
from lookalike.evaluation.explanations.cases import ExplainedPair
from lookalike.evaluation.explanations.costs import cost_values
from lookalike.evaluation.explanations.faithful import faithful_values, pair_curves
from lookalike.evaluation.explanations.stability import match_values, sanity, sensitivity, swap_error
from lookalike.evaluation.explanations.sums import sum_values
from lookalike.evaluation.explanations.truths import mask_values, matching_values

Family = Literal["faithfulness", "sums", "truth", "stability", "cost"]
PairValue: TypeAlias = "float | list[float] | None"  # two numbers for an AUC over pairs


@dataclass(frozen=True)
class MapMeasure:
    """What a column of the leaderboard says."""

    title: str
    family: Family
    is_higher_better: bool
    first: int | None = None  # only on so many pairs of each half
    first_slow: int | None = None  # the same for a method that is slow


MEASURES = {
    "aid-mean": MapMeasure("area between showing and hiding cells, mean color", "faithfulness", True),
    "aid-blur": MapMeasure("the same, hidden cells blurred", "faithfulness", True),
    "aid-swap": MapMeasure("the same, hidden cells of another image", "faithfulness", True),
    "aid-both": MapMeasure("the same, blurred in both images at once", "faithfulness", True),
    "aid-pixels": MapMeasure("the same, blurred pixel by pixel", "faithfulness", True, first=3, first_slow=3),
    "insertion": MapMeasure("area under the curve of showing", "faithfulness", True),
    "deletion": MapMeasure("area under the curve of hiding", "faithfulness", False),
    "drop": MapMeasure("similarity lost when only the map is kept", "faithfulness", False),
    "fit-r2": MapMeasure("R² of sums over random halves", "faithfulness", True),
    "fit-spearman": MapMeasure("rank correlation of sums over random halves", "faithfulness", True),
    "exactness": MapMeasure("|similarity - sum - residual|", "sums", False),
    "residual": MapMeasure("part of the similarity without a cell", "sums", False),
    "peak": MapMeasure("highest cell in the mask", "truth", True),
    "mass": MapMeasure("positive mass in the mask, 1 is chance", "truth", True),
    "mask-auc": MapMeasure("AUC of the mask by the map", "truth", True),
    "pck": MapMeasure("parts found, to a tenth of the box", "truth", True),
    "homography-hit": MapMeasure("cells found under a homography", "truth", True),
    "right-wrong-auc": MapMeasure("true matches told by concentration", "truth", True, first_slow=3),
    "dependence": MapMeasure("change of the map with the match", "stability", True, first_slow=3),
    "sanity": MapMeasure("change of the map with shuffled weights", "stability", True, first=3, first_slow=1),
    "swap-error": MapMeasure("change when images change places", "stability", False, first=3, first_slow=1),
    "sensitivity": MapMeasure("change under slight noise", "stability", False, first=3, first_slow=1),
    "cost-pair": MapMeasure("one pair, in forward passes", "cost", False, first=2, first_slow=1),
    "cost-pair-ms": MapMeasure("one pair, ms", "cost", False, first=2, first_slow=1),
    "cost-100": MapMeasure("100 hits, in forward passes", "cost", False, first=2, first_slow=1),
    "memory-mb": MapMeasure("memory of one pair, MB", "cost", False, first=2, first_slow=1),
}

OF_MATCHING = frozenset({"pck", "homography-hit"})  # which need no map
OF_COST = frozenset(name for name, measure in MEASURES.items() if measure.family == "cost")


def chosen_measures(names: Iterable[str] | None) -> tuple[str, ...]:
    """The measures of these names in the order of ``MEASURES``, all for None.

    Raises UnknownNameError for a name that is none.
    """
    if names is None:
        return tuple(MEASURES)
    given = list(names)
    for name in given:
        check_name("measure", name, MEASURES)
    return tuple(name for name in MEASURES if name in given)


@dataclass(frozen=True)
class PairScores:
    """All that was measured on one pair under one method, in JSON types."""

    values: dict[str, PairValue]  # None where a measure does not apply to the pair
    curves: dict[str, dict[str, list[float]]]  # by ``aid-`` measure: insertion and deletion, scaled


def score_pair(explained: ExplainedPair, measures: Collection[str]) -> PairScores:
    """Take the measures on one pair, and only what they need.

    Raises UnsupportedMethodError where the method does not fit the model.
    """
    wanted = {name for name in measures if _applies(name, explained)}
    values: dict[str, PairValue] = dict.fromkeys(measures)
    values |= matching_values(explained, wanted) if wanted & OF_MATCHING else {}
    curves = {}
    if explained.bound.explain is not None and wanted - OF_MATCHING:
        found = pair_curves(explained, wanted)
        values |= faithful_values(explained, wanted, found) | _map_values(explained, wanted)
        curves = {name: curve.scaled().to_dict() for name, curve in found.items()}
    kept = {
        name: _finite(v) for name, v in values.items() if name in measures or name.startswith("residual-")
    }
    return PairScores(kept, {name: curve for name, curve in curves.items() if name in measures})


def _map_values(explained: ExplainedPair, wanted: Collection[str]) -> dict[str, PairValue]:
    values: dict[str, PairValue] = {}
    wanted = set(wanted)
    if wanted & {"exactness", "residual"}:
        sums = sum_values(explained)
        values |= sums if "residual" in wanted else {"exactness": sums["exactness"]}
    if wanted & {"peak", "mass", "mask-auc"}:
        values |= mask_values(explained)
    if wanted & {"dependence", "right-wrong-auc"}:
        values |= match_values(explained, wanted)
    for name, measure in (("sanity", sanity), ("swap-error", swap_error), ("sensitivity", sensitivity)):
        values |= {name: measure(explained)} if name in wanted else {}
    if wanted & OF_COST:
        values |= cost_values(explained, wanted)
    return values


def _applies(name: str, explained: ExplainedPair) -> bool:
    measure = MEASURES[name]
    first = measure.first_slow if explained.bound.is_slow else measure.first
    return first is None or explained.case.rank < first


def _finite(value: PairValue) -> PairValue:
    """The value, or None where it is not finite."""
    numbers = value if isinstance(value, list) else [] if value is None else [value]
    return value if all(math.isfinite(number) for number in numbers) else None
