"""Cosines within a shortlist, transformed so that they compare across embeddings.

The T items are the query and its candidates, best first.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

SMALLEST = 1e-6  # spreads and lengths below it are taken as this, against division by zero


def shortlist_cosines(
    queries: Float[Tensor, "Q D"], candidates: Float[Tensor, "Q K D"]
) -> Float[Tensor, "Q T T"]:
    """Cosine of every item of a shortlist with every other; all are unit vectors."""
    items = torch.cat([queries[:, None], candidates], dim=1)
    return items @ items.transpose(1, 2)


def expanded_cosines(cosines: Float[Tensor, "Q T T"], n: int, alpha: float) -> Float[Tensor, "Q T T"]:
    """Cosines after each item is replaced by its weighted sum with its n nearest items.

    Alpha expansion (``expand``) of the query and of all candidates at once, within the shortlist and
    from cosines alone. An item weighs ``cosine ** alpha``, itself 1, and nothing at or below zero.

    >>> import torch
    >>> expanded_cosines(torch.tensor([[[1.0, 0.6], [0.6, 1.0]]]), n=1, alpha=1.0)
    tensor([[[1.0000, 0.9692],
             [0.9692, 1.0000]]])
    """
    nearest = cosines.topk(min(n + 1, cosines.shape[1]), dim=2)
    kept = nearest.values.clamp(min=0).pow(alpha)
    weights = torch.zeros_like(cosines).scatter_(2, nearest.indices, kept)
    products = weights @ cosines @ weights.transpose(1, 2)
    lengths = products.diagonal(dim1=1, dim2=2).clamp(min=SMALLEST).sqrt()
    return products / lengths[:, :, None] / lengths[:, None]


def mutual_cosines(cosines: Float[Tensor, "Q T T"], n: int, smooth: int) -> Float[Tensor, "Q T T"]:
    """Similarity of the mutual neighbors of each two items, in [0, 1].

    Each item is described by its weights ``exp(cosine)`` over those of its n nearest items that have it
    among theirs, averaged over its ``smooth`` nearest, itself included; the result is the cosine of two
    descriptions. The k-reciprocal encoding of Zhong et al. (CVPR 2017) without its expansion of
    neighborhoods, and with a cosine, which is a matrix product, for Jaccard's minimum and maximum.
    """
    n_items = cosines.shape[1]
    nearest = cosines.topk(min(n + 1, n_items), dim=2).indices
    is_near = torch.zeros_like(cosines).scatter_(2, nearest, 1.0)
    weights = is_near * is_near.transpose(1, 2) * cosines.exp()
    weights = weights / weights.sum(2, keepdim=True).clamp(min=SMALLEST)
    closest = torch.zeros_like(cosines).scatter_(2, nearest[:, :, :smooth], 1.0)
    described = F.normalize(closest @ weights, dim=2)
    return described @ described.transpose(1, 2)


def standardized_columns(cosines: Float[Tensor, "Q T T"], n: int) -> Float[Tensor, "Q T n"]:
    """The first n columns, standardized over each shortlist to mean 0 and deviation 1.

    Embeddings whose cosines all lie between 0.8 and 1 become comparable with others. Where there are
    fewer than n items the last columns are zero, the mean.
    """
    columns = cosines[:, :, :n]
    deviation, mean = torch.std_mean(columns, dim=(1, 2), correction=0, keepdim=True)
    return F.pad((columns - mean) / deviation.clamp(min=SMALLEST), (0, n - columns.shape[2]))
