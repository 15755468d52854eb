"""Two models on the same images: which is better, where they part, and whether they look alike."""

from lookalike.evaluation.comparison.comparing import Compared, Settings, compare
from lookalike.evaluation.comparison.results import Case, Comparison, ExplainedHit, MapAgreement, PairedMetric

__all__ = [
    "Case",
    "Compared",
    "Comparison",
    "ExplainedHit",
    "MapAgreement",
    "PairedMetric",
    "Settings",
    "compare",
]
