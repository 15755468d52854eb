"""Results of the leaderboard of explanations: rows, differences to a reference method, curves, examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lookalike.evaluation.plain import record_to_dict
from lookalike.types import Explanation
from lookalike.types.html import table_html


@dataclass(frozen=True)
class ExplanationRow:
    """One measure of one method on one model: its mean over pairs, with a 95 % bootstrap interval."""

    model: str
    method: str
    measure: str  # a name of ``MEASURES``, or "residual-" and a kind
    value: float
    low: float
    high: float
    pairs: int  # that the measure could be taken on


@dataclass(frozen=True)
class Refusal:
    """A method that does not fit a model, with the reason in its own words."""

    model: str
    method: str
    reason: str


@dataclass(frozen=True)
class MethodDifference:
    """A method less the reference method, on the pairs of one model on which both were measured."""

    model: str
    method: str
    reference: str
    measure: str
    value: float  # method minus reference
    low: float
    high: float
    p_value: float  # two-sided sign-flip test
    pairs: int


@dataclass(frozen=True)
class HidingCurve:
    """Scaled similarity as cells are shown and hidden, the most important first; means over pairs."""

    model: str
    method: str
    measure: str  # "aid-mean", "aid-blur", ...
    insertion: tuple[float, ...]  # from nothing shown to everything, evenly spaced
    deletion: tuple[float, ...]  # from nothing hidden to everything


@dataclass(frozen=True)
class ExplainedExample:
    """One pair under one method, on the pixels that the model sees."""

    key: str  # of the pair
    method: str
    explanation: Explanation


@dataclass(frozen=True)
class ExplanationScores:
    """The leaderboard: which maps are true, by model, method and measure."""

    rows: tuple[ExplanationRow, ...]
    refusals: tuple[Refusal, ...]
    differences: tuple[MethodDifference, ...]  # to the reference method
    curves: tuple[HidingCurve, ...]
    examples: tuple[ExplainedExample, ...]  # the first pairs under every method; not in ``to_dict``
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def models(self) -> list[str]:
        """Names of the models that have rows, in the order of the run."""
        return list(dict.fromkeys(row.model for row in self.rows))

    def methods(self, model: str) -> list[str]:
        """Names of the methods that have rows for a model, in the order of the run."""
        return list(dict.fromkeys(row.method for row in self.rows if row.model == model))

    def row(self, model: str, method: str, measure: str) -> ExplanationRow | None:
        """One row; None where there is no such row."""
        wanted = (model, method, measure)
        return next((row for row in self.rows if (row.model, row.method, row.measure) == wanted), None)

    def _repr_html_(self) -> str:
        """Return a row for each method and a column for each measure, by model, for notebooks."""
        measures = list(dict.fromkeys(row.measure for row in self.rows))
        found = {(row.model, row.method, row.measure): f"{row.value:z.3f}" for row in self.rows}
        if not self.rows:
            return table_html("nothing was measured", (), ())
        return "".join(
            table_html(
                f"model {model}",
                ("method", *measures),
                (
                    (method, *(found.get((model, method, measure), "") for measure in measures))
                    for method in self.methods(model)
                ),
            )
            for model in self.models
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the examples in JSON types; ``rows`` is a flat list."""
        return record_to_dict(self, without=("examples",))
