"""Evaluation of embeddings on labeled images: retrieval metrics, intervals, worst classes."""

from lookalike.evaluation.clustering import ClusterAgreement, can_cluster, cluster_agreement
from lookalike.evaluation.evaluating import evaluate
from lookalike.evaluation.labeled import LabeledEmbeddings, labeled
from lookalike.evaluation.retrieval import Retrieved, retrieve
from lookalike.evaluation.sources import (
    DataSource,
    descriptors_of_gallery,
    embed_images,
    embeddings_of_files,
    embeddings_of_gallery,
    load_for_evaluation,
    open_data,
)
from lookalike.evaluation.summary import ClassMetrics, Evaluation, Metric, metric_title, summarize

__all__ = [
    "ClassMetrics",
    "ClusterAgreement",
    "DataSource",
    "Evaluation",
    "LabeledEmbeddings",
    "Metric",
    "Retrieved",
    "can_cluster",
    "cluster_agreement",
    "descriptors_of_gallery",
    "embed_images",
    "embeddings_of_files",
    "embeddings_of_gallery",
    "evaluate",
    "labeled",
    "load_for_evaluation",
    "metric_title",
    "open_data",
    "retrieve",
    "summarize",
]
