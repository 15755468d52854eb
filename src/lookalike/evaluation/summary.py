"""Evaluation results: means over queries with intervals, metrics of each class, and the counting rules."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import torch

from lookalike.evaluation.clustering import ClusterAgreement
from lookalike.evaluation.labeled import LabeledEmbeddings
from lookalike.evaluation.plain import record_to_dict
from lookalike.evaluation.retrieval import Retrieved
from lookalike.ops.resampling import bootstrap_intervals

CONFIDENCE = 0.95
_TITLES = {
    "r_precision": "R-precision",
    "map_at_r": "MAP@R",
    "mean_average_precision": "mAP",
    "mean_reciprocal_rank": "MRR",
}


@dataclass(frozen=True)
class Metric:
    """Mean of a metric over queries, with its confidence interval."""

    name: str  # "recall_at_1", "map_at_r", ...
    value: float  # [0, 1]
    low: float  # ends of the bootstrap interval
    high: float

    @property
    def title(self) -> str:
        """The name as tables print it, such as "Recall@1"."""
        return metric_title(self.name)


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of the queries of one class."""

    label: str
    n_queries: int  # those with a match
    recall_at_1: float
    map_at_r: float
    confused_with: str  # the label most often found first instead; empty if none is
    n_confused: int  # queries that found it first


@dataclass(frozen=True, repr=False)
class Evaluation:
    """Retrieval metrics of embeddings, and the rules by which they were counted."""

    source: str
    model: str  # empty where embeddings came without one
    n_queries: int  # queries with a match: these are counted
    n_without_match: int  # queries left out
    n_gallery: int
    n_classes: int  # of the gallery
    width: int  # D
    precision: str  # of the model's forward pass: fp32 or bf16; empty where it is unknown
    metrics: tuple[Metric, ...]
    clusters: ClusterAgreement | None  # None if not asked for, or without scikit-learn
    classes: tuple[ClassMetrics, ...]  # worst first: by MAP@R, then by name
    rules: tuple[str, ...]  # sentences
    left_out: tuple[tuple[str, str], ...]  # files that could not be used, and why
    retrieved: Retrieved = field(compare=False)  # every query's own metrics and first hits

    def metric(self, name: str) -> Metric:
        """Return the metric of that name. Raises KeyError, listing the names there are."""
        for metric in self.metrics:
            if metric.name == name:
                return metric
        raise KeyError(f"no metric {name!r}; there are {', '.join(each.name for each in self.metrics)}")

    @property
    def headline(self) -> str:
        """One line: the data, the model and the numbers of queries, images and classes."""
        model = f" with {self.model}" if self.model else ""
        return (
            f"{self.source}{model}: {self.n_queries:,} queries, {self.n_gallery:,} images "
            f"of {self.n_classes:,} classes, {self.width} dimensions"
        )

    def rows(self) -> list[tuple[str, str, str]]:
        """Title, mean and interval of each metric as text, NMI, AMI and F1 included."""
        rows = [
            (each.title, f"{each.value:.2%}", f"{each.low:.2%} to {each.high:.2%}") for each in self.metrics
        ]
        if self.clusters is not None:
            found = (("NMI", self.clusters.nmi), ("AMI", self.clusters.ami), ("F1", self.clusters.f1))
            rows += [(title, f"{value:.2%}", "") for title, value in found]
        return rows

    def to_dict(self) -> dict[str, Any]:
        """Return everything but ``retrieved`` in JSON types."""
        return record_to_dict(self, without=("retrieved",))

    def __repr__(self) -> str:
        metrics = ", ".join(f"{each.title} {each.value:.1%}" for each in self.metrics)
        return f"<Evaluation of {self.headline}: {metrics}>"

    def _repr_html_(self) -> str:
        """A small table for notebooks."""
        rows = "".join(
            f"<tr><th>{title}</th><td>{value}</td><td>{interval}</td></tr>"
            for title, value, interval in self.rows()
        )
        head = f"<tr><th></th><th>mean</th><th>{CONFIDENCE:.0%} interval</th></tr>"
        return f"<table><caption>{escape(self.headline)}</caption>{head}{rows}</table>"


def metric_title(name: str) -> str:
    """The name of a metric as tables print it.

    >>> metric_title("recall_at_4"), metric_title("map_at_r")
    ('Recall@4', 'MAP@R')
    """
    return _TITLES.get(name, name.replace("recall_at_", "Recall@"))


def summarize(
    retrieved: Retrieved,
    *,
    clusters: ClusterAgreement | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
    remarks: Sequence[str] = (),
) -> Evaluation:
    """Summarize per-query results: means with percentile bootstrap intervals, and metrics of each class.

    ``remarks`` on the data are listed first among the rules.
    """
    generator = torch.Generator().manual_seed(seed)
    intervals = bootstrap_intervals(
        retrieved.values, generator=generator, n_resamples=n_resamples, confidence=CONFIDENCE
    )
    means = retrieved.values.mean(0)
    metrics = [
        Metric(name, float(mean), float(low), float(high))
        for name, mean, (low, high) in zip(retrieved.metrics, means, intervals, strict=True)
    ]
    queries, gallery = retrieved.queries, retrieved.gallery
    return Evaluation(
        source=queries.source if retrieved.leaves_self_out else f"{queries.source} in {gallery.source}",
        model=gallery.model,
        n_queries=len(retrieved.asked),
        n_without_match=retrieved.n_without_match,
        n_gallery=len(gallery),
        n_classes=len(gallery.classes),
        width=gallery.values.shape[1],
        precision=gallery.precision,
        metrics=tuple(metrics),
        clusters=clusters,
        classes=tuple(class_metrics(retrieved)),
        rules=(*remarks, *_rules(retrieved, clusters, n_resamples, seed)),
        left_out=queries.left_out + (() if retrieved.leaves_self_out else gallery.left_out),
        retrieved=retrieved,
    )


def class_metrics(retrieved: Retrieved) -> list[ClassMetrics]:
    """Return the metrics of every class that has a query with a match, worst first."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(retrieved.asked.tolist()):
        rows[retrieved.queries.labels[row]].append(i)
    is_right = retrieved.is_right()[:, 0]
    first = [retrieved.gallery.labels[row] for row in retrieved.nearest[:, 0].tolist()]
    map_at_r = retrieved.values[:, retrieved.metrics.index("map_at_r")]
    found = [
        _of_class(label, Counter(first[i] for i in members), is_right[members].double().mean().item(),
                  map_at_r[members].mean().item())
        for label, members in rows.items()
    ]  # fmt: skip
    return sorted(found, key=lambda each: (each.map_at_r, each.label))


def _of_class(label: str, first: Counter[str], recall_at_1: float, map_at_r: float) -> ClassMetrics:
    """``first``: how often each label was found first by the queries of this class."""
    others = sorted(((n, name) for name, n in first.items() if name != label), key=lambda o: (-o[0], o[1]))
    n_confused, confused_with = others[0] if others else (0, "")
    return ClassMetrics(label, first.total(), recall_at_1, map_at_r, confused_with, n_confused)


def similarity_rule(embeddings: LabeledEmbeddings) -> str:
    """The sentence on what compares two images."""
    if not embeddings.is_avsl:
        cosine = "Similarity is the cosine; equal similarities are ranked in the order of the rows."
        if not embeddings.lacks_nodes:
            return cosine
        return (
            f"{cosine} {embeddings.model} has a graph (AVSL), but {embeddings.source} holds the embedding of "
            "its highest level only; evaluate the folder of images to judge the distance that it infers."
        )
    return (
        f"{embeddings.model or 'The model'} has a graph (AVSL): similarity is one minus half the distance "
        "that it infers, of every query with every image; equal similarities are ranked in the order of the "
        "rows."
    )


def _precision_rule(embeddings: LabeledEmbeddings) -> str:
    """In which number format the embeddings were computed."""
    if not embeddings.precision:
        return "Embeddings are used as they came; in which precision they were computed is not known."
    closer = "" if embeddings.precision == "fp32" else "; its cosines differ from fp32 by some hundredths"
    return f"Embeddings were computed in {embeddings.precision}{closer}."


def _rules(retrieved: Retrieved, clusters: ClusterAgreement | None, n_resamples: int, seed: int) -> list[str]:
    n_queries, n_gallery = len(retrieved.queries), len(retrieved.gallery)
    rules = [
        f"Each of {n_gallery:,} images queries all others: its own row is no result, an exact copy is."
        if retrieved.leaves_self_out
        else f"{n_queries:,} queries against {n_gallery:,} gallery images; a query among them finds itself.",
        f"{retrieved.n_without_match:,} queries without a match are left out of every metric.",
        similarity_rule(retrieved.gallery),
        _precision_rule(retrieved.gallery),
        f"Intervals: {CONFIDENCE:.0%}, percentile bootstrap over queries, {n_resamples:,} resamples, seed "
        f"{seed}; they hold for other queries of these classes, not for other classes.",
    ]
    if clusters is not None:
        rules.append(
            f"NMI, AMI and F1 (of pairs): {clusters.method}, {clusters.n_clusters:,} clusters of all gallery "
            f"images, best of {clusters.n_starts} start{'s' * (clusters.n_starts > 1)}, seed {clusters.seed}."
        )
    return rules
