"""What comparing two models gives: metrics in pairs, agreement, and cases to look at."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.types import Explanation


@dataclass(frozen=True)
class PairedMetric:
    """One metric of both models on the same queries."""

    metric: str  # "recall_at_1", ...
    first: float  # mean over queries, [0, 1]
    second: float
    difference: float  # second minus first
    low: float  # ends of the paired bootstrap interval of the difference
    high: float
    p_value: float  # two-sided sign-flip test over queries; not corrected for several metrics


@dataclass(frozen=True)
class Outcomes:
    """Whose first hit has the query's label: numbers of queries."""

    both: int
    only_first: int
    only_second: int
    neither: int


@dataclass(frozen=True)
class ListAgreement:
    """How much of what both models retrieve is the same; means over queries, [0, 1]."""

    jaccard: tuple[tuple[int, float], ...]  # k, and Jaccard index of the first k
    rank_biased_overlap: float
    persistence: float  # the p of rank-biased overlap
    depth: int  # ranks that were looked at


@dataclass(frozen=True)
class MapAgreement:
    """How alike two ways of explaining are on the same pairs; means over pairs."""

    first: str  # "model, method"
    second: str
    correlation: float  # Pearson over the cells of a common grid, [-1, 1]
    correlation_low: float  # bootstrap interval over pairs
    correlation_high: float
    correlation_by_chance: float  # the same with the second's map of another pair's query
    shared_mass: float  # part of the positive mass at the same cells, [0, 1]
    shared_mass_by_chance: float


@dataclass(frozen=True)
class MapFaithfulness:
    """Whether hiding what a map calls important breaks the similarity; means over pairs."""

    model: str
    method: str
    gain: float  # cosine: area between the curves, least important hidden first and most; 0: random order
    low: float  # bootstrap interval over pairs
    high: float
    mean_drop: float  # of the cosine when all is hidden; some models fall further than others


@dataclass(frozen=True)
class ExplainedHit:
    """A gallery image that both models were asked about with the same query."""

    label: str
    path: str
    first: tuple[Explanation, ...]  # the first model's explanations, one a method
    second: tuple[Explanation, ...]


@dataclass(frozen=True)
class Case:
    """A query on which the models part: one finds its class first, the other something else."""

    label: str  # of the query
    path: str
    right: str  # name of the model whose first hit has the label
    rank_of_other: int  # at which the other model finds the class first
    match: ExplainedHit  # what the right model found first
    mistaken: ExplainedHit  # what the other found first


@dataclass(frozen=True)
class Comparison:
    """Two models on the same images."""

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
    n_pairs: int  # pairs whose maps were compared; 0 where there were no models to ask
    maps: tuple[MapAgreement, ...]
    faithfulness: tuple[MapFaithfulness, ...]
    rules: tuple[str, ...]  # sentences
