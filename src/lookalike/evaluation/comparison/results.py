"""Results of comparing two models: paired metrics, agreement, and cases to look at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lookalike.evaluation.plain import record_to_dict
from lookalike.evaluation.summary import metric_title
from lookalike.types import Explanation
from lookalike.types.html import table_html


@dataclass(frozen=True)
class PairedMetric:
    """One metric of both models on the same queries."""

    name: str  # "recall_at_1", ...
    first: float  # mean over queries, [0, 1]
    second: float
    difference: float  # second minus first
    low: float  # ends of the paired bootstrap interval of the difference
    high: float
    p_value: float  # two-sided sign-flip test over queries; not corrected for several metrics

    @property
    def title(self) -> str:
        """The name as tables print it, such as "Recall@1"."""
        return metric_title(self.name)


@dataclass(frozen=True)
class Outcomes:
    """Numbers of queries by which model's first hit has the query's label."""

    both: int
    only_first: int
    only_second: int
    neither: int


@dataclass(frozen=True)
class ListAgreement:
    """Overlap of the lists that both models retrieve; means over queries, in [0, 1]."""

    jaccard: tuple[tuple[int, float], ...]  # k, and Jaccard index of the first k
    rank_biased_overlap: float
    persistence: float  # the p of rank-biased overlap
    depth: int  # ranks that were compared


@dataclass(frozen=True)
class MapAgreement:
    """Agreement of two models' or methods' maps on the same pairs; means over pairs."""

    first: str  # "model, method"
    second: str
    correlation: float  # Pearson over the cells of a common grid, [-1, 1]
    correlation_low: float  # bootstrap interval over pairs
    correlation_high: float
    correlation_by_chance: float  # the same with the second's map of another pair's query
    shared_mass: float  # share of the positive mass that lies at the same cells, [0, 1]
    shared_mass_by_chance: float


@dataclass(frozen=True)
class MapFaithfulness:
    """Effect on the similarity of hiding cells in the order of a map; means over pairs."""

    model: str
    method: str
    gain: float  # area between the cosine's curves, least and most important first; 0: random order
    low: float  # bootstrap interval over pairs
    high: float
    mean_drop: float  # of the cosine when everything is hidden


@dataclass(frozen=True)
class ExplainedHit:
    """A gallery image, explained by both models for the same query."""

    label: str
    path: str
    first: tuple[Explanation, ...]  # the first model's explanations, one per method
    second: tuple[Explanation, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return label and path."""
        return record_to_dict(self, without=("first", "second"))


@dataclass(frozen=True)
class Case:
    """A query whose class one model finds first while the other does not."""

    label: str  # of the query
    path: str
    right: str  # name of the model whose first hit has the label
    rank_of_other: int  # rank at which the other model finds the class
    match: ExplainedHit  # first hit of the right model
    mistaken: ExplainedHit  # first hit of the other

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the explanations in JSON types."""
        hits = {"match": self.match.to_dict(), "mistaken": self.mistaken.to_dict()}
        return record_to_dict(self, without=("match", "mistaken")) | hits


@dataclass(frozen=True, repr=False)
class Comparison:
    """Comparison of two models on the same images."""

    first: str
    second: str
    source: str
    n_queries: int
    n_without_match: int
    n_gallery: int
    n_classes: int
    metrics: tuple[PairedMetric, ...]
    outcomes: Outcomes
    lists: ListAgreement
    n_pairs: int  # pairs whose maps were compared; 0 if there were no models
    maps: tuple[MapAgreement, ...]
    faithfulness: tuple[MapFaithfulness, ...]
    rules: tuple[str, ...]  # sentences
    cases: tuple[Case, ...] = field(
        default=(), compare=False
    )  # those the first model finds, then the second's

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the explanations in JSON types."""
        return record_to_dict(self, without=("cases",)) | {"cases": [case.to_dict() for case in self.cases]}

    def _repr_html_(self) -> str:
        """Return each metric of both models with their difference, for notebooks."""
        rows = (
            (each.title, f"{each.first:.2%}", f"{each.second:.2%}", f"{each.difference:+.2%}")
            for each in self.metrics
        )
        caption = f"{self.source}: {self.n_queries:,} queries, {self.n_gallery:,} images"
        return table_html(caption, ("metric", self.first, self.second, "difference"), rows)

    def __repr__(self) -> str:
        metrics = ", ".join(f"{each.title} {each.first:.1%} and {each.second:.1%}" for each in self.metrics)
        return f"<Comparison of {self.first} and {self.second} on {self.source}: {metrics}>"
