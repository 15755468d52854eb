"""Cosine similarity of all pairs."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def cosine_similarity(query: Float[Tensor, "Q D"], gallery: Float[Tensor, "G D"]) -> Float[Tensor, "Q G"]:
    """Cosine of every query with every gallery embedding: (Q, G), in [-1, 1]; 0 for zero vectors.

    >>> import torch
    >>> cosine_similarity(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    tensor([[1., 0.]])
    """
    return F.normalize(query, dim=1) @ F.normalize(gallery, dim=1).T
