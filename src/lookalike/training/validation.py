"""How well a network in training ranks images that it does not learn from."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from lookalike.datasets import LabeledImages
from lookalike.errors import DatasetError
from lookalike.images import Preprocessing
from lookalike.training.pictures import evaluation_batches
from lookalike.training.trainable import Trainable

RECALLS = (1, 2, 4, 8)
METRICS = (*(f"recall_at_{k}" for k in RECALLS), "map_at_r")
_BATCH = 64


def validate(model: Trainable, data: LabeledImages, preprocessing: Preprocessing) -> dict[str, float]:
    """The mean over queries of each of ``METRICS``, in [0, 1]; see ``metrics_of_queries``."""
    means = metrics_of_queries(model, data, preprocessing).mean(0)
    return dict(zip(METRICS, means.tolist(), strict=True))


@torch.no_grad()
def metrics_of_queries(model: Trainable, data: LabeledImages, preprocessing: Preprocessing) -> Tensor:
    """For each query its metrics in the order of ``METRICS``: (Q, M) float64.

    Each image is searched among all others, with the similarity that the saved model is used with.
    Images whose class has no other are no queries, but stay in the gallery. Raises DatasetError
    where no class has two images.
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
    relevant, n_relevant = (codes[nearest] == codes[:, None])[queries], n_relevant[queries]
    ranks = torch.arange(1, k + 1)
    within = relevant & (ranks <= n_relevant[:, None])
    precision = within.cumsum(1).double() / ranks * within
    recalled = [relevant[:, :n].any(1).double() for n in RECALLS]
    return torch.stack([*recalled, precision.sum(1) / n_relevant], dim=1)


def check_validation(data: LabeledImages) -> None:
    """Raise DatasetError for images that no metric can be had from."""
    if max(_class_sizes(data), default=0) < 2:
        raise DatasetError("evaluation needs a class with two images or more; these have one each")


def _class_sizes(data: LabeledImages) -> list[int]:
    """For each image, how many there are of its class, itself included."""
    sizes = Counter(data.labels)
    return [sizes[label] for label in data.labels]
