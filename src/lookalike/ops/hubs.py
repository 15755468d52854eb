"""Hubs: items that are near everything, how often an item is a neighbor, and two corrections for it."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

_BLOCK = 1024  # queries of one product


def nearest_rows(
    queries: Float[Tensor, "Q D"], gallery: Float[Tensor, "G D"], rows: Int[Tensor, " Q"], k: int
) -> Int[Tensor, "Q K"]:
    """The k nearest of the gallery to each query by their product, without the query's own row."""
    k = min(k, len(gallery) - 1)
    found = []
    for block, own in zip(torch.split(queries, _BLOCK), torch.split(rows, _BLOCK), strict=True):
        products = block @ gallery.T
        products[torch.arange(len(block)), own] = -torch.inf
        found.append(products.topk(k, dim=1).indices)
    return torch.cat(found)


def occurrences(neighbors: Int[Tensor, "Q K"], n_items: int) -> Int[Tensor, " G"]:
    """How often each of G items is among the neighbors: its k-occurrence.

    Radovanović et al., *Hubs in space*, JMLR 2010.

    >>> occurrences(torch.tensor([[1, 2], [2, 0], [1, 0]]), 4).tolist()
    [2, 2, 2, 0]
    """
    return torch.bincount(neighbors.reshape(-1), minlength=n_items)


def neighborhood_similarity(
    items: Float[Tensor, "G D"], references: Float[Tensor, "R D"], k: int, own: Int[Tensor, " G"]
) -> Float[Tensor, " G"]:
    """Mean product of each item with its k nearest references, without reference ``own`` (-1: none).

    It is the r of CSLS (Conneau et al., *Word translation without parallel data*, ICLR 2018, eq. 3): large
    for an item that is near everything.
    """
    found = []
    for block, left_out in zip(torch.split(items, _BLOCK), torch.split(own, _BLOCK), strict=True):
        products = block @ references.T
        at = (left_out >= 0).nonzero()[:, 0]
        products[at, left_out[at]] = -torch.inf
        nearest = products.topk(min(k, max(1, len(references) - 1)), dim=1).values
        found.append(nearest.where(nearest.isfinite(), torch.zeros_like(nearest)).mean(1))
    return torch.cat(found)
