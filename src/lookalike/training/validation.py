"""Retrieval metrics of a network in training, on images that it does not learn from."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from lookalike.datasets import LabeledImages
from lookalike.errors import DatasetError
from lookalike.images import Preprocessing
from lookalike.ops.clusters import k_medoids, mutual_information, pair_f1
from lookalike.ops.compared import Compared
from lookalike.ops.metrics_per_query import average_precisions_at_r, is_recalled_at_k
from lookalike.training.pictures import evaluation_batches
from lookalike.training.settings import TrainSettings
from lookalike.training.trainable import Trainable, nearest_others

_BATCH = 64


def metric_names(settings: TrainSettings) -> tuple[str, ...]:
    """Names of the metrics of each query: ``recall_at_K`` for each K, then ``map_at_r``."""
    return (*(f"recall_at_{k}" for k in settings.recalls), "map_at_r")


def validate(
    model: Trainable, data: LabeledImages, preprocessing: Preprocessing, settings: TrainSettings
) -> dict[str, float]:
    """Return the means over queries of ``metric_names``, in [0, 1]; see ``metrics_of_queries``.

    With ``clustering`` also ``nmi``, ``ami`` and ``f1`` of as many clusters as classes, k-medoids by the
    same similarity.
    """
    check_validation(data)
    items = _compared(model, data, preprocessing)
    means = _values(items, data, settings).mean(0)
    found = dict(zip(metric_names(settings), means.tolist(), strict=True))
    return found | (_of_clusters(items, data, settings.seed) if settings.clustering else {})


def metrics_of_queries(
    model: Trainable, data: LabeledImages, preprocessing: Preprocessing, settings: TrainSettings
) -> Tensor:
    """Return the metrics of each query in the order of ``metric_names``: (Q, M) float64 in [0, 1].

    Each image queries all others, by the similarity that the saved model is used with. Images that are
    alone in their class are no queries, but stay in the gallery. Raises DatasetError if no class has
    two images.
    """
    check_validation(data)
    return _values(_compared(model, data, preprocessing), data, settings)


@torch.no_grad()
def _compared(model: Trainable, data: LabeledImages, preprocessing: Preprocessing) -> Compared:
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    try:
        batches = evaluation_batches(data, preprocessing, batch_size=_BATCH)
        return model.compared(batch.to(device) for batch in batches)
    finally:
        model.train(was_training)


def _values(items: Compared, data: LabeledImages, settings: TrainSettings) -> Tensor:
    codes, n_relevant = torch.tensor(data.codes), torch.tensor(_class_sizes(data)) - 1
    k = min(max(int(n_relevant.max()), *settings.recalls), len(data) - 1)
    nearest = nearest_others(items, k)  # (G, K)
    queries = n_relevant > 0
    ranks = _ranks((codes[nearest] == codes[:, None])[queries], n_relevant[queries])
    recalled = [is_recalled_at_k(ranks, n) for n in settings.recalls]
    return torch.stack([*recalled, average_precisions_at_r(ranks)], dim=1)


def _of_clusters(items: Compared, data: LabeledImages, seed: int) -> dict[str, float]:
    codes = torch.tensor(data.codes)

    def distances(rows: Tensor, columns: Tensor) -> Tensor:
        return 1 - items.similarities(rows, items, columns)

    clusters = k_medoids(len(codes), len(data.classes), distances, seed=seed)
    nmi, ami = mutual_information(codes, clusters)
    return {"nmi": nmi, "ami": ami, "f1": pair_f1(codes, clusters)}


def _ranks(relevant: Tensor, n_relevant: Tensor) -> Tensor:
    """Ranks (Q, R) of the relevant images from lists (Q, K) that are cut off after K >= R.

    A relevant image beyond the list gets rank K + 1, which all metrics up to K count as not found.
    """
    beyond = relevant.shape[1] + 1
    ranks = torch.where(relevant, torch.arange(1, beyond), beyond).sort(dim=1).values.double()
    ranks = ranks[:, : int(n_relevant.max())]
    return ranks.masked_fill(torch.arange(ranks.shape[1]) >= n_relevant[:, None], torch.inf)


def check_validation(data: LabeledImages) -> None:
    """Raise DatasetError if no class has two images."""
    if max(_class_sizes(data), default=0) < 2:
        raise DatasetError("evaluation needs a class with two images or more; these have one each")


def _class_sizes(data: LabeledImages) -> list[int]:
    """For each image, the number of images of its class, itself included."""
    sizes = Counter(data.labels)
    return [sizes[label] for label in data.labels]
