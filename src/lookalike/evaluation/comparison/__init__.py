"""Comparison of two models on the same images: metrics, retrieved lists, maps and differing cases."""

from lookalike.evaluation.comparison.comparing import ComparisonSettings, compare
from lookalike.evaluation.comparison.results import Case, Comparison, ExplainedHit, MapAgreement, PairedMetric

__all__ = [
    "Case",
    "Comparison",
    "ComparisonSettings",
    "ExplainedHit",
    "MapAgreement",
    "PairedMetric",
    "compare",
]
