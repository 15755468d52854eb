"""How good an embedding is at retrieval, on labelled images: figures, intervals, worst classes."""

from lookalike.evaluation.clustering import ClusterAgreement, can_cluster, cluster_agreement
from lookalike.evaluation.labelled import LabelledEmbeddings, labelled
from lookalike.evaluation.retrieval import Retrieved, retrieve
from lookalike.evaluation.sources import (
    Data,
    embed_images,
    embeddings_of_files,
    embeddings_of_gallery,
    load_for_evaluation,
    open_data,
)
from lookalike.evaluation.summary import ClassFigures, Evaluation, Figure, summarise

__all__ = [
    "ClassFigures",
    "ClusterAgreement",
    "Data",
    "Evaluation",
    "Figure",
    "LabelledEmbeddings",
    "Retrieved",
    "can_cluster",
    "cluster_agreement",
    "embed_images",
    "embeddings_of_files",
    "embeddings_of_gallery",
    "labelled",
    "load_for_evaluation",
    "open_data",
    "retrieve",
    "summarise",
]
