"""Expansion of an embedding by its neighbors: of queries (aQE) and of the database (DBA)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from lookalike.ops.neighbors import nearest

BLOCK = 256  # items augmented at once; bounds the memory for their neighbors' vectors


def expand(
    vectors: Float[Tensor, "B D"], neighbors: Float[Tensor, "B n D"], alpha: float
) -> Float[Tensor, "B D"]:
    """Normalized sum of each vector, weight 1, and its neighbors, weight ``cosine ** alpha``: (B, D).

    Alpha query expansion, Radenović, Tolias, Chum, *Fine-tuning CNN image retrieval with no human
    annotation*, TPAMI 2019, section 3.4; alpha 0 is average query expansion. All are unit vectors;
    a neighbor with a cosine of zero or less has weight 0.

    >>> expand(torch.tensor([[1.0, 0.0]]), torch.tensor([[[0.6, 0.8]]]), alpha=1.0)
    tensor([[0.9430, 0.3328]])
    """
    return F.normalize(_parts(vectors, neighbors, alpha).sum(1), dim=1)


def expand_without_each(
    vector: Float[Tensor, " D"], neighbors: Float[Tensor, "n D"], alpha: float
) -> Float[Tensor, "n D"]:
    """The expanded vector without neighbor i, in row i."""
    parts = _parts(vector[None], neighbors[None], alpha)[0]
    return F.normalize(parts.sum(0) - parts[1:], dim=1)


def augment_database(
    gallery: Float[Tensor, "G D"], rows: Int[Tensor, " R"], n: int, alpha: float
) -> Float[Tensor, "R D"]:
    """These rows of the gallery, each expanded by its n nearest other rows of the whole gallery.

    Database-side augmentation, Arandjelović and Zisserman, *Three things everyone should know to
    improve object retrieval*, CVPR 2012, section 5, with the weights of alpha query expansion.
    """
    augmented = gallery[rows]  # a copy
    for start in range(0, len(rows), BLOCK):
        block = rows[start : start + BLOCK]
        neighbors = gallery[other_neighbors(gallery, block, n)]  # (R, n, D)
        augmented[start : start + BLOCK] = expand(gallery[block], neighbors, alpha)
    return augmented


def other_neighbors(
    gallery: Float[Tensor, "G D"], rows: Int[Tensor, " R"], n: int
) -> Int[Tensor, "R n_found"]:
    """The n nearest rows of each given row, itself left out; n_found = min(n, G - 1)."""
    n = min(n, len(gallery) - 1)
    found = nearest(gallery[rows], gallery, n + 1)[1]  # (R, n + 1)
    itself = found == rows[:, None]
    itself[:, -1] |= ~itself.any(1)  # more than n duplicates rank before it: drop the last instead
    return found[~itself].reshape(len(rows), n)


def _parts(
    vectors: Float[Tensor, "B D"], neighbors: Float[Tensor, "B n D"], alpha: float
) -> Float[Tensor, "B n_and_1 D"]:
    cosines = torch.einsum("bnd,bd->bn", neighbors, vectors).clamp(min=0)
    weights = torch.where(cosines > 0, cosines.pow(alpha), 0.0)  # 0 ** 0 would be 1
    return torch.cat([vectors[:, None], weights[..., None] * neighbors], dim=1)
