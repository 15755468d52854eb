"""Measures of whether a map depends on what it should depend on: the match, the weights, little else."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from lookalike.errors import UnsupportedMethodError
from lookalike.evaluation.explanations.cases import ExplainedPair
from lookalike.evaluation.explanations.subjects import as_reading
from lookalike.ops.map_stability import concentration, map_correlation, relative_distance
from lookalike.types import Explanation, Reading

_DRAWS = 3  # of noise
_NOISE = 0.02 * 255  # standard deviation, levels


def match_values(
    explained: ExplainedPair, measures: Collection[str]
) -> dict[str, float | list[float] | None]:
    """``dependence`` on the match, and the concentrations that ``right-wrong-auc`` compares."""
    true, false = explained.maps[0], explained.false_map
    if false is None:
        return dict.fromkeys({"dependence", "right-wrong-auc"} & set(measures))
    return {
        "dependence": 1 - abs(map_correlation(true, false)),
        "right-wrong-auc": [concentration(true), concentration(false)],
    }


def sanity(explained: ExplainedPair) -> float | None:
    """1 - the correlation with the maps after the weights were shuffled, mean over both depths and sides.

    The last half of the layers, then all (Adebayo et al., NeurIPS 2018). None where the weights can't be
    shuffled, the method does not use the model or refuses the shuffled one.
    """
    if not explained.bound.uses_model:
        return None
    found = []
    for whole in (False, True):
        try:
            shuffled = explained.case.subject.randomized(whole=whole, seed=explained.case.roster.seed)
            explain = explained.method.bind(shuffled).explain
            assert explain is not None
            after = explained.on_grids(explain(*(side.reading for side in explained.case.sides)))
        except UnsupportedMethodError:
            continue
        if all(bool(values.isfinite().all()) for values in after):
            found += [1 - map_correlation(a, b) for a, b in zip(explained.maps, after, strict=True)]
    return sum(found) / len(found) if found else None


def swap_error(explained: ExplainedPair) -> float:
    """Relative change of the maps when query and match change places, mean over both images."""
    explain = explained.bound.explain
    assert explain is not None
    query, match = (side.reading for side in explained.case.sides)
    swapped = explain(match, query)
    back = replace(swapped, query=swapped.match, match=swapped.query)
    return _change(explained, back)


def sensitivity(explained: ExplainedPair) -> float:
    """Largest relative change of the maps under slight noise on both images (Yeh et al., NeurIPS 2019)."""
    explain = explained.bound.explain
    assert explain is not None
    changes = []
    for draw in range(_DRAWS):
        numbers = np.random.default_rng([*explained.case.seed, draw])
        noisy = [_with_noise(side.reading, numbers) for side in explained.case.sides]
        changes.append(_change(explained, explain(*noisy)))
    return max(changes)


def _change(explained: ExplainedPair, other: Explanation) -> float:
    pairs = zip(explained.maps, explained.on_grids(other), strict=True)
    return sum(relative_distance(a, b) for a, b in pairs) / 2


def _with_noise(reading: Reading, numbers: np.random.Generator) -> Reading:
    noise = numbers.normal(0, _NOISE, reading.pixels.shape)
    pixels = (reading.pixels + noise).round().clip(0, 255).astype(np.uint8)
    return as_reading(pixels, reading.picture.name)
