"""From what each query found to metrics: means with intervals, classes, and the rules that held."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass

import torch

from lookalike.evaluation.clustering import ClusterAgreement
from lookalike.evaluation.labeled import LabeledEmbeddings
from lookalike.evaluation.retrieval import Retrieved
from lookalike.ops.resampling import bootstrap_intervals

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Metric:
    """A mean over queries and how far it can be trusted."""

    metric: str  # "recall_at_1", "map_at_r", ...
    value: float  # [0, 1]
    low: float  # ends of the bootstrap interval
    high: float


@dataclass(frozen=True)
class ClassMetrics:
    """How the queries of one class fare."""

    label: str
    n_queries: int  # those with a match
    recall_at_1: float
    map_at_r: float
    confused_with: str  # the label most often found first instead of this; empty: none is
    n_confused: int  # queries that found it first


@dataclass(frozen=True)
class Evaluation:
    """How well embeddings retrieve, and under which rules that was counted."""

    source: str
    model: str  # empty where embeddings came without one
    n_queries: int  # that were counted
    n_without_match: int  # that were left out
    n_gallery: int
    n_classes: int  # of the gallery
    width: int  # D
    metrics: tuple[Metric, ...]
    clusters: ClusterAgreement | None  # None where clustering was not wanted or not possible
    classes: tuple[ClassMetrics, ...]  # worst first: by MAP@R, then by name
    rules: tuple[str, ...]  # sentences
    left_out: tuple[tuple[str, str], ...]  # files that are not among queries or gallery, and why

    def metric(self, metric: str) -> Metric:
        """The metric of that name. Raises KeyError."""
        return {metric.metric: metric for metric in self.metrics}[metric]


def summarize(
    retrieved: Retrieved,
    *,
    clusters: ClusterAgreement | None = None,
    n_resamples: int = 2000,
    seed: int = 0,
) -> Evaluation:
    """Means over queries with percentile bootstrap intervals, and the metrics of each class."""
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
        metrics=tuple(metrics),
        clusters=clusters,
        classes=tuple(class_metrics(retrieved)),
        rules=tuple(_rules(retrieved, clusters, n_resamples, seed)),
        left_out=queries.left_out + (() if retrieved.leaves_self_out else gallery.left_out),
    )


def class_metrics(retrieved: Retrieved) -> list[ClassMetrics]:
    """The metrics of every class that has a query with a match, worst first."""
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


def graph_rule(judged: LabeledEmbeddings) -> list[str]:
    """What must be said of an AVSL model: not all that it knows is judged."""
    if not judged.has_graph:
        return []
    return [
        f"{judged.model or 'The model'} has a graph (AVSL): this is the cosine of its highest level, "
        "as a search without --rerank avsl uses it; 'lookalike train' reports the inferred distance."
    ]


def _rules(retrieved: Retrieved, clusters: ClusterAgreement | None, n_resamples: int, seed: int) -> list[str]:
    n_queries, n_gallery = len(retrieved.queries), len(retrieved.gallery)
    rules = [
        f"Each of {n_gallery:,} images asks all others: its own row is no result, a copy in another row is."
        if retrieved.leaves_self_out
        else f"{n_queries:,} queries ask {n_gallery:,} gallery images; one that is among them finds itself.",
        f"{retrieved.n_without_match:,} queries without a match are left out of every metric.",
        "Similarity is the cosine; equal similarities rank in the order of the rows.",
        *graph_rule(retrieved.gallery),
        f"Intervals: {CONFIDENCE:.0%}, percentile bootstrap over queries, {n_resamples:,} resamples, seed "
        f"{seed}; they speak of other queries like these, not of other classes.",
    ]
    if clusters is not None:
        rules.append(
            f"NMI and AMI: k-means with {clusters.n_clusters:,} clusters on all gallery embeddings, best of "
            f"{clusters.n_starts} starts, seed {clusters.seed}."
        )
    return rules
