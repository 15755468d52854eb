"""Cosine similarity of all pairs, and the vector that holds the mean of many."""

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


def mean_unit(embeddings: Float[Tensor, "N D"]) -> Float[Tensor, " D"]:
    """Mean of the embeddings at unit length: (D,), of length 0 to 1.

    The product of a unit embedding with it is its mean cosine with all of them. Raises ValueError for
    no embeddings.

    >>> import torch
    >>> mean_unit(torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    tensor([0.5000, 0.5000])
    """
    if not len(embeddings):
        raise ValueError("a mean takes at least one embedding, got none; add images first")
    return F.normalize(embeddings, dim=1).mean(0)
