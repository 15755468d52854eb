"""Clusters of a map by scikit-learn: dense areas of a UMAP layout, or k-means of the embeddings."""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from lookalike.errors import GalleryError
from lookalike.store import Record
from lookalike.types import FloatArray

_TRIED = (2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24)  # numbers of clusters that k-means is tried with
_SAMPLE = 2000  # pictures that the number is judged by
_DENSE_SAMPLE = 20_000  # pictures that dense areas are looked for in: its time grows with the square
_DOMINATES = 0.6  # share of a cluster from which a value names it
_DISTINCT = 1.5  # times its share of the whole collection


def clusters_of(
    vectors: FloatArray, points: FloatArray, *, by_density: bool, wanted: int | None, seed: int
) -> NDArray[np.int32]:
    """Return the cluster (G,) of each unit vector (G, D) at points (G, 2); -1 is none.

    ``wanted`` 0 makes none. A number is k-means of the embeddings; None is HDBSCAN of the points
    (``by_density``), or k-means with the number of the best silhouette. The largest cluster is 0. Raises
    GalleryError without scikit-learn.
    """
    none = np.full(len(vectors), -1, dtype=np.int32)
    if wanted == 0 or len(vectors) < 4:
        return none
    try:
        clustering = importlib.import_module("sklearn.cluster")
        metrics = importlib.import_module("sklearn.metrics")
    except ImportError as error:
        raise GalleryError(
            "clusters need scikit-learn: pip install 'lookalike[map]', or ask for 0 clusters"
        ) from error
    if wanted is None and by_density:
        found = _dense_areas(clustering, points, seed)
    else:
        k = _best_number(clustering, metrics, vectors, seed) if wanted is None else min(wanted, len(vectors))
        found = _k_means(clustering, vectors, k, seed)
    order = [label for label, _ in Counter(found[found >= 0].tolist()).most_common()]
    renamed = {label: place for place, label in enumerate(order)}
    return np.array([renamed.get(label, -1) for label in found.tolist()], dtype=np.int32)


def _dense_areas(clustering: Any, points: FloatArray, seed: int) -> NDArray[np.int64]:
    n = len(points)
    rows = np.arange(n)
    if n > _DENSE_SAMPLE:
        rows = np.sort(np.random.default_rng(seed).choice(n, _DENSE_SAMPLE, replace=False))
    smallest = max(5, len(rows) // 100)
    dense = clustering.HDBSCAN(min_cluster_size=smallest, min_samples=5, copy=True).fit_predict(points[rows])
    if len(rows) == n:
        return np.asarray(dense, dtype=np.int64)
    neighbors = importlib.import_module("sklearn.neighbors")
    nearest = neighbors.KNeighborsClassifier(1).fit(points[rows], dense)
    return np.asarray(nearest.predict(points), dtype=np.int64)


def _k_means(clustering: Any, vectors: FloatArray, k: int, seed: int) -> NDArray[np.int64]:
    made = clustering.MiniBatchKMeans(k, random_state=seed, n_init=3, batch_size=4096)
    return np.asarray(made.fit_predict(vectors), dtype=np.int64)


def _best_number(clustering: Any, metrics: Any, vectors: FloatArray, seed: int) -> int:
    rows = np.random.default_rng(seed).permutation(len(vectors))[:_SAMPLE]
    sample, best = vectors[np.sort(rows)], (-np.inf, 2)
    for k in _TRIED:
        if k >= len(sample):
            break
        labels = _k_means(clustering, sample, k, seed)
        if 2 <= len(set(labels.tolist())) < len(sample):
            best = max(best, (float(metrics.silhouette_score(sample, labels)), k))
    return best[1]


def typical_rows(vectors: FloatArray, rows: NDArray[np.int64], n: int) -> list[int]:
    """Return the n rows nearest to the mean of a cluster's unit vectors, the medoid by cosine first."""
    members = vectors[rows]
    cosines = members @ members.mean(0)  # the sum of cosines with all members, up to a factor
    return [int(rows[i]) for i in np.argsort(-cosines, kind="stable")[:n]]


def dominant_value(rows: NDArray[np.int64], fields: Sequence[FieldTexts]) -> str:
    """Return ``field: value`` of the value that most of a cluster has and the collection has not; or "".

    ``rows`` are those of the cluster, and ``fields`` hold the values of the whole collection.
    """
    best = (0.0, "")
    for field in fields:
        found = Counter(text for row in rows.tolist() for text in field.texts[row]).most_common(1)
        if not found:
            continue
        value, n = found[0]
        share, usual = n / len(rows), field.counts[value] / max(field.counts.total(), 1)
        if share >= _DOMINATES and share >= _DISTINCT * usual:
            best = max(best, (share, f"{field.name}: {value}"))
    return best[1]


@final
class FieldTexts:
    """A metadata field of a collection: the distinct values of each record's files, as texts."""

    def __init__(self, name: str, records: Sequence[Record]) -> None:
        self.name = name
        self.texts = [[str(value) for value in record.values_of(name)] for record in records]
        self.counts = Counter(text for texts in self.texts for text in texts)
