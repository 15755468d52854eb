"""How good an embedding is at retrieval, on labeled images: metrics, intervals, worst classes."""

from lookalike.evaluation.clustering import ClusterAgreement, can_cluster, cluster_agreement
from lookalike.evaluation.labeled import LabeledEmbeddings, labeled
from lookalike.evaluation.retrieval import Retrieved, retrieve
from lookalike.evaluation.sources import (
    Data,
    embed_images,
    embeddings_of_files,
    embeddings_of_gallery,
    load_for_evaluation,
    open_data,
)
from lookalike.evaluation.summary import ClassMetrics, Evaluation, Metric, summarize

__all__ = [
    "ClassMetrics",
    "ClusterAgreement",
    "Data",
    "Evaluation",
    "LabeledEmbeddings",
    "Metric",
    "Retrieved",
    "can_cluster",
    "cluster_agreement",
    "embed_images",
    "embeddings_of_files",
    "embeddings_of_gallery",
    "labeled",
    "load_for_evaluation",
    "open_data",
    "retrieve",
    "summarize",
]
