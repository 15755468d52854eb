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
    """The best row of each model and measure, controls apart; of equal ones the first.

    Only among rows that rest on the most pairs: a mean over a few other pairs does not compare.
    """
    judged = [row for row in scores.rows if row.method not in CONTROLS]
    most: dict[tuple[str, str], int] = {}
    for row in judged:
        most[row.model, row.measure] = max(row.pairs, most.get((row.model, row.measure), 0))
    best: dict[tuple[str, str], ExplanationRow] = {}
    for row in judged:
        if row.pairs < most[row.model, row.measure]:
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
