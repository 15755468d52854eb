"""Agreement of k-means clusters with the labels.

The only importer of scikit-learn (extra ``[train]``).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib.util import find_spec

from lookalike.evaluation.labeled import LabeledEmbeddings

_STARTS = 3  # k-means runs, of which the tightest counts
_MANY = 1000  # classes from which there is one run only: each step costs images x classes
_MAX_STEPS = 100


@dataclass(frozen=True)
class ClusterAgreement:
    """Agreement of k-means, with as many clusters as classes, with the labels."""

    nmi: float  # normalized mutual information (arithmetic mean), in [0, 1]; high for many small classes
    ami: float  # mutual information adjusted for chance: 0 is chance, 1 full agreement
    n_clusters: int
    n_starts: int  # k-means runs, of which the tightest counts
    seed: int


def can_cluster() -> bool:
    """Whether scikit-learn is installed."""
    return find_spec("sklearn") is not None


def cluster_agreement(embeddings: LabeledEmbeddings, *, seed: int = 0) -> ClusterAgreement:
    """NMI and AMI of the labels with k-means clusters of the unit embeddings.

    Vinh, Epps, Bailey, *Information theoretic measures for clusterings comparison*, JMLR 2010. Another
    seed may give other clusters and other numbers. Raises ImportError without scikit-learn.
    """
    from sklearn.cluster import KMeans
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import adjusted_mutual_info_score, normalized_mutual_info_score

    n_clusters = len(embeddings.classes)
    n_starts = _STARTS if n_clusters < _MANY else 1
    k_means = KMeans(n_clusters, n_init=n_starts, max_iter=_MAX_STEPS, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer distinct rows than classes: still clusters
        clusters = k_means.fit_predict(embeddings.values.numpy())
    return ClusterAgreement(
        nmi=float(normalized_mutual_info_score(embeddings.labels, clusters)),
        ami=float(adjusted_mutual_info_score(embeddings.labels, clusters)),
        n_clusters=n_clusters,
        n_starts=n_starts,
        seed=seed,
    )
