"""The leaderboard as tables: measures by family, and the best of each."""

from __future__ import annotations

from lookalike.evaluation.explanations.measures import MEASURES
from lookalike.evaluation.explanations.methods import CONTROLS
from lookalike.evaluation.explanations.results import ExplanationRow, ExplanationScores


def families(scores: ExplanationScores, model: str) -> list[tuple[str, list[str]]]:
    """Measures of a model's rows by family, in the order of ``MEASURES``; kinds of residual follow theirs."""
    names = list(dict.fromkeys(row.measure for row in scores.rows if row.model == model))
    ordered = sorted(names, key=lambda name: (list(MEASURES).index(measure_of(name)), name))
    found: dict[str, list[str]] = {}
    for name in ordered:
        found.setdefault(MEASURES[measure_of(name)].family, []).append(name)
    return list(found.items())


def best_rows(scores: ExplanationScores) -> set[ExplanationRow]:
    """The best row of each model and measure, controls apart; none where methods can't differ for better."""
    best: dict[tuple[str, str], ExplanationRow] = {}
    for row in scores.rows:
        if row.method in CONTROLS:
            continue
        sign = 1 if MEASURES[measure_of(row.measure)].is_higher_better else -1
        known = best.get((row.model, row.measure))
        if known is None or sign * row.value > sign * known.value:
            best[row.model, row.measure] = row
    return set(best.values())


def measure_of(name: str) -> str:
    """The measure that a row's name belongs to: ``residual`` for its kinds.

    >>> measure_of("residual-CLS"), measure_of("aid-mean")
    ('residual', 'aid-mean')
    """
    return name if name in MEASURES else name.partition("-")[0]
