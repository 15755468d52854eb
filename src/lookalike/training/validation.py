"""Retrieval metrics of a network in training, on images that it does not learn from."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from lookalike.datasets import LabeledImages
from lookalike.errors import DatasetError
from lookalike.images import Preprocessing
from lookalike.ops.metrics_per_query import average_precisions_at_r, is_recalled_at_k
from lookalike.training.pictures import evaluation_batches
from lookalike.training.trainable import Trainable

RECALLS = (1, 2, 4, 8)
METRICS = (*(f"recall_at_{k}" for k in RECALLS), "map_at_r")
_BATCH = 64


def validate(model: Trainable, data: LabeledImages, preprocessing: Preprocessing) -> dict[str, float]:
    """Return the mean over queries of each of ``METRICS``, in [0, 1]; see ``metrics_of_queries``."""
    means = metrics_of_queries(model, data, preprocessing).mean(0)
    return dict(zip(METRICS, means.tolist(), strict=True))


@torch.no_grad()
def metrics_of_queries(model: Trainable, data: LabeledImages, preprocessing: Preprocessing) -> Tensor:
    """Return the metrics of each query in the order of ``METRICS``: (Q, M) float64 in [0, 1].

    Each image queries all others, by the similarity that the saved model is used with. Images that are
    alone in their class are no queries, but stay in the gallery. Raises DatasetError if no class has
    two images.
    """
    check_validation(data)
    device = next(model.parameters()).device
    codes, n_relevant = torch.tensor(data.codes), torch.tensor(_class_sizes(data)) - 1
    k = min(max(int(n_relevant.max()), *RECALLS), len(data) - 1)
    was_training = model.training
    model.eval()
    try:
        batches = evaluation_batches(data, preprocessing, batch_size=_BATCH)
        nearest = model.nearest((batch.to(device) for batch in batches), k)  # (G, K)
    finally:
        model.train(was_training)
    queries = n_relevant > 0
    ranks = _ranks((codes[nearest] == codes[:, None])[queries], n_relevant[queries])
    return torch.stack(
        [*(is_recalled_at_k(ranks, n) for n in RECALLS), average_precisions_at_r(ranks)], dim=1
    )


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
