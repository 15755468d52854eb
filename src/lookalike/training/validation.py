"""How well a network in training ranks images that it does not learn from."""

from __future__ import annotations

from collections import Counter

import torch
from torch import Tensor

from lookalike.datasets import LabelledImages
from lookalike.errors import DatasetError
from lookalike.images import Preprocessing
from lookalike.ops.metrics import map_at_r, recall_at_k
from lookalike.training.pictures import evaluation_batches
from lookalike.training.trainable import Trainable

RECALLS = (1, 2, 4, 8)
_BATCH = 64


@torch.no_grad()
def validate(model: Trainable, data: LabelledImages, preprocessing: Preprocessing) -> dict[str, float]:
    """Recall@1, 2, 4, 8 and MAP@R, each image searched among all others; in [0, 1].

    Images whose class has no other are no queries, but stay in the gallery. Raises DatasetError
    where no class has two images.
    """
    relevant, n_relevant = relevance(model, data, preprocessing)
    figures = {f"recall_at_{k}": recall_at_k(relevant, k) for k in RECALLS}
    return figures | {"map_at_r": map_at_r(relevant, n_relevant)}


@torch.no_grad()
def relevance(model: Trainable, data: LabelledImages, preprocessing: Preprocessing) -> tuple[Tensor, Tensor]:
    """Which of the first R or more neighbours are of the query's class: (Q, K) bool, and R: (Q,)."""
    check_validation(data)
    device = next(model.parameters()).device
    codes = torch.tensor(data.codes)
    n_relevant = torch.tensor([n - 1 for n in _class_sizes(data)])
    k = min(max(int(n_relevant.max()), *RECALLS), len(data) - 1)
    was_training = model.training
    model.eval()
    try:
        batches = evaluation_batches(data, preprocessing, batch_size=_BATCH)
        nearest = model.nearest((batch.to(device) for batch in batches), k)  # (G, K)
    finally:
        model.train(was_training)
    queries = n_relevant > 0
    return (codes[nearest] == codes[:, None])[queries], n_relevant[queries]


def check_validation(data: LabelledImages) -> None:
    """Raise DatasetError for images that no figure can be had from."""
    if max(_class_sizes(data), default=0) < 2:
        raise DatasetError("evaluation needs a class with two images or more; these have one each")


def _class_sizes(data: LabelledImages) -> list[int]:
    """For each image, how many there are of its class, itself included."""
    sizes = Counter(data.labels)
    return [sizes[label] for label in data.labels]
