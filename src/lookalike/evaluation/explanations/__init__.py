"""The leaderboard of explanations: methods on models over pairs whose truth is known, measured alike."""

from lookalike.evaluation.explanations.evaluating import evaluate_explanations
from lookalike.evaluation.explanations.halves import PAIR_HALVES, Half, half_of
from lookalike.evaluation.explanations.measures import MEASURES, MapMeasure
from lookalike.evaluation.explanations.methods import CONTROLS, MapMethod, make_method, split_methods
from lookalike.evaluation.explanations.results import (
    ExplainedExample,
    ExplanationRow,
    ExplanationScores,
    HidingCurve,
    MethodDifference,
    Refusal,
)
from lookalike.evaluation.explanations.tables import best_rows, families, measure_of

__all__ = [
    "CONTROLS",
    "MEASURES",
    "PAIR_HALVES",
    "ExplainedExample",
    "ExplanationRow",
    "ExplanationScores",
    "Half",
    "HidingCurve",
    "MapMeasure",
    "MapMethod",
    "MethodDifference",
    "Refusal",
    "best_rows",
    "evaluate_explanations",
    "families",
    "half_of",
    "make_method",
    "measure_of",
    "split_methods",
]
