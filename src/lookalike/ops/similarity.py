"""Cosine similarity of all pairs, and the vector that holds the mean of many."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_ROUNDING = 8  # by so many times the precision of its numbers a unit row may differ from length 1
_SMALLEST = 1e-300  # shorter rows are zero


def unit_rows(rows: Float[Tensor, "N D"]) -> Float[Tensor, "N D"]:
    """The rows at length 1: (N, D). Rows that have it up to rounding are kept bit by bit, zeros stay zero.

    Dividing a unit row by its length again changes its last digits, and with them the order of near ties.

    >>> import torch
    >>> unit_rows(torch.tensor([[3.0, 4.0], [0.0, 0.0]]))
    tensor([[0.6000, 0.8000],
            [0.0000, 0.0000]])
    """
    lengths = torch.linalg.vector_norm(rows, dim=1, keepdim=True, dtype=torch.float64)
    is_unit = (lengths - 1).abs() <= _ROUNDING * torch.finfo(rows.dtype).eps
    if bool(is_unit.all()):
        return rows
    scaled = (rows / lengths.clamp(min=_SMALLEST)).to(rows.dtype)
    return torch.where(is_unit, rows, scaled)


def cosine_similarity(query: Float[Tensor, "Q D"], gallery: Float[Tensor, "G D"]) -> Float[Tensor, "Q G"]:
    """Cosine of every query with every gallery embedding: (Q, G), in [-1, 1]; 0 for zero vectors.

    >>> import torch
    >>> cosine_similarity(torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, 0.0], [0.0, 3.0]]))
    tensor([[1., 0.]])
    """
    return unit_rows(query) @ unit_rows(gallery).T


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
    return unit_rows(embeddings).mean(0)
