"""Measures of exactness: whether a map that promises a sum keeps it, and what has no cell."""

from __future__ import annotations

from lookalike.evaluation.explanations.cases import ExplainedPair
from lookalike.types import ImageMap


def sum_values(explained: ExplainedPair) -> dict[str, float | None]:
    """Exactness, residual, and the residual by kind; means over query and match, None for heat maps.

    ``exactness`` is |similarity - sum - named residual|, ``residual`` the part of |similarity| that is
    in no cell, ``residual-KIND`` that of each named kind.
    """
    if not explained.explanation.additive:
        return {"exactness": None, "residual": None}
    similarity = explained.case.similarity
    sides = (explained.explanation.query, explained.explanation.match)
    size = max(abs(similarity), 1e-12)
    gaps = [abs(similarity - side.total - _named(side)) for side in sides]
    missing = [abs(similarity - side.total) / size for side in sides]
    kinds = {kind for side in sides for kind, _ in side.residual_parts}
    parts = {
        f"residual-{kind.replace(' ', '-')}": sum(
            abs(dict(side.residual_parts).get(kind, 0.0)) for side in sides
        )
        / (2 * size)
        for kind in kinds
    }
    return {"exactness": sum(gaps) / 2, "residual": sum(missing) / 2, **parts}


def _named(side: ImageMap) -> float:
    return sum(value for _, value in side.residual_parts)
