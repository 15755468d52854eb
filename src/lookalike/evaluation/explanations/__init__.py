"""The leaderboard of explanations: methods on models over pairs whose truth is known, measured alike."""

from lookalike.evaluation.explanations.evaluating import evaluate_explanations
from lookalike.evaluation.explanations.measures import MEASURES, MapMeasure
from lookalike.evaluation.explanations.methods import CONTROLS, Method, make_method, split_methods
from lookalike.evaluation.explanations.results import (
    ExplainedExample,
    ExplanationRow,
    ExplanationScores,
    HidingCurve,
    MethodDifference,
    Refusal,
)

__all__ = [
    "CONTROLS",
    "MEASURES",
    "ExplainedExample",
    "ExplanationRow",
    "ExplanationScores",
    "HidingCurve",
    "MapMeasure",
    "Method",
    "MethodDifference",
    "Refusal",
    "evaluate_explanations",
    "make_method",
    "split_methods",
]
