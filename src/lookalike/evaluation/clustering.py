"""Agreement of clusters with the labels: k-means of vectors, k-medoids of AVSL's inferred distance.

The only importer of scikit-learn (extra ``[train]``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec

import torch
from torch import Tensor

from lookalike.evaluation.labeled import LabeledEmbeddings
from lookalike.ops.clusters import k_medoids, mutual_information, pair_f1

_STARTS = 3  # k-means runs, of which the tightest counts
_MAX_STEPS = 100
_MANY = 1000  # classes from which there is one run only: each step costs images x classes


@dataclass(frozen=True)
class ClusterAgreement:
    """Agreement of as many clusters as classes with the labels."""

    nmi: float  # normalized mutual information (arithmetic mean), in [0, 1]; high for many small classes
    ami: float  # mutual information adjusted for chance: 0 is chance, 1 full agreement
    f1: float  # over pairs of images: in one cluster and of one class, in [0, 1]
    n_clusters: int
    n_starts: int  # runs, of which the tightest counts
    seed: int
    method: str  # k-means of the embeddings, or k-medoids of the inferred distance


def can_cluster() -> bool:
    """Whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


def cluster_agreement(embeddings: LabeledEmbeddings, *, seed: int = 0) -> ClusterAgreement:
    """NMI, AMI and F1 of the labels with clusters of the embeddings, see ``ops.clusters``.

    Unit embeddings are clustered by k-means; images of an AVSL model, which have a distance and no one
    vector, by k-medoids. Another seed may give other clusters and other numbers. Raises ImportError
    without scikit-learn.
    """
    n_clusters = len(embeddings.classes)
    number = {label: i for i, label in enumerate(embeddings.classes)}
    codes = torch.tensor([number[label] for label in embeddings.labels])
    if embeddings.is_avsl:
        items, n_starts, method = embeddings.compared, 1, "k-medoids of the inferred distance"

        def distances(rows: Tensor, columns: Tensor) -> Tensor:
            return 1 - items.similarities(rows, items, columns)

        clusters = k_medoids(len(codes), n_clusters, distances, seed=seed)
    else:
        n_starts, method = _STARTS if n_clusters < _MANY else 1, "k-means"
        clusters = _k_means(embeddings.values, n_clusters, n_starts, seed)
    nmi, ami = mutual_information(codes, clusters)
    return ClusterAgreement(
        nmi=nmi,
        ami=ami,
        f1=pair_f1(codes, clusters),
        n_clusters=n_clusters,
        n_starts=n_starts,
        seed=seed,
        method=method,
    )


def _k_means(units: Tensor, n_clusters: int, n_starts: int, seed: int) -> Tensor:
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning

    k_means = KMeans(n_clusters, n_init=n_starts, max_iter=_MAX_STEPS, random_state=seed)
    with warnings.catch_warnings():
        # fewer distinct rows than classes: still clusters
        warnings.simplefilter("ignore", ConvergenceWarning)
        return torch.as_tensor(k_means.fit_predict(units.numpy())).long()
