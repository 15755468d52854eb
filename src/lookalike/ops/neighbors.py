"""Exact nearest neighbors by cosine, block by block; ties go to the lower row.

Memory is bounded by one block of similarities, whatever Q and G are.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookalike.ops.similarity import cosine_similarity

_QUERY_BLOCK, _GALLERY_BLOCK = 256, 65_536  # 64 MiB of float32 similarities


def largest_k(values: Float[Tensor, "Q G"], k: int) -> tuple[Float[Tensor, "Q K"], Int[Tensor, "Q K"]]:
    """The k largest values of each row and their columns, largest first; K = min(k, G).

    Unlike ``torch.topk``, equal values always come in the order of their columns.

    >>> largest_k(torch.tensor([[0.5, 0.9, 0.5, 0.5]]), 3)
    (tensor([[0.9000, 0.5000, 0.5000]]), tensor([[1, 0, 2]]))
    """
    k = min(k, values.shape[1])
    top, columns = values.topk(k, dim=1, sorted=False)
    if k and k < values.shape[1]:
        # Which of several equal numbers topk keeps at the cut is not defined: sort those rows whole.
        cut = top.amin(1, keepdim=True)
        unsure = (values == cut).sum(1) > (top == cut).sum(1)
        columns[unsure] = values[unsure].argsort(dim=1, descending=True, stable=True)[:, :k]
    columns = columns.sort(dim=1).values
    top, order = values.gather(1, columns).sort(dim=1, descending=True, stable=True)
    return top, columns.gather(1, order)


def nearest(
    query: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    k: int,
    *,
    query_block: int = _QUERY_BLOCK,
    gallery_block: int = _GALLERY_BLOCK,
) -> tuple[Float[Tensor, "Q K"], Int[Tensor, "Q K"]]:
    """Cosines and rows of the k gallery embeddings closest to each query; K = min(k, G).

    Raises ValueError for k below 1.

    >>> nearest(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 2.0], [3.0, 0.0], [4.0, 3.0]]), 2)
    (tensor([[1.0000, 0.8000]]), tensor([[1, 2]]))
    """
    if k < 1:
        raise ValueError(f"k is 1 or more, got {k}")
    found = [
        _nearest_of_block(query[start : start + query_block], gallery, k, gallery_block)
        for start in range(0, max(len(query), 1), query_block)
    ]
    return torch.cat([scores for scores, _ in found]), torch.cat([rows for _, rows in found])


def _nearest_of_block(
    query: Float[Tensor, "Q D"], gallery: Float[Tensor, "G D"], k: int, gallery_block: int
) -> tuple[Float[Tensor, "Q K"], Int[Tensor, "Q K"]]:
    """As ``nearest``, for one block of queries."""
    best = query.new_empty(len(query), 0)
    best_rows = torch.empty(len(query), 0, dtype=torch.long, device=query.device)
    for start in range(0, len(gallery), gallery_block):
        cosines = cosine_similarity(query, gallery[start : start + gallery_block])
        scores, columns = largest_k(cosines, k)
        # Rows found before come first, so that equal cosines keep the order of the rows.
        best, order = largest_k(torch.cat([best, scores], dim=1), k)
        best_rows = torch.cat([best_rows, columns + start], dim=1).gather(1, order)
    return best, best_rows
