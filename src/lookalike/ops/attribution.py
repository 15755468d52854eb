"""Maps from shares: the contribution of each cell, and of each pair of cells, to a cosine.

The maps generalize Stylianou, Souvenir, Pless, *Visualizing Deep Similarity Networks*, WACV 2019:
there an average-pooled embedding makes cell i of A contribute ``a_i · b / (N ‖a‖ ‖b‖)``.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


def similarity_maps(
    shares: Float[Tensor, "N D"], residual: Float[Tensor, " D"], matches: Float[Tensor, "K D"]
) -> Float[Tensor, "K N"]:
    """Contribution of each cell to the cosine with each of K matches: (K, N), signed.

    ``matches`` are unit embeddings, so nothing else of the matching images is needed and the maps
    of all K are one matrix product. Row k sums to the cosine with match k, less what the residual
    accounts for; an embedding of zeros has a cosine and a map of zero.

    >>> shares = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    >>> similarity_maps(shares, torch.zeros(2), torch.tensor([[1.0, 0.0], [0.6, 0.8]]))
    tensor([[0.6000, 0.0000],
            [0.3600, 0.6400]])
    """
    norm: Tensor = (shares.sum(0) + residual).norm()
    return matches @ shares.T / _not_zero(norm)


def pair_maps(
    query: Float[Tensor, "N D"], match: Float[Tensor, "M D"]
) -> tuple[Float[Tensor, " N"], Float[Tensor, " M"]]:
    """Both maps of one pair whose shares leave no residual; each sums to the cosine.

    The scale of the shares does not matter, so features before average pooling will do: this is
    the published computation without its loops over pairs of cells.
    """
    query_total, match_total = (shares.new_ones(len(shares)) @ shares for shares in (query, match))
    norm = _not_zero(query_total.norm() * match_total.norm())
    return query @ (match_total / norm), match @ (query_total / norm)


def cell_similarity(
    query: Float[Tensor, "N D"],
    match: Float[Tensor, "M D"],
    query_norm: Float[Tensor, ""],
    match_norm: Float[Tensor, ""],
) -> Float[Tensor, "N M"]:
    """Contribution of each pair of cells to the cosine: (N, M), signed.

    Row sums are the query's map, column sums the match's. The norms are those of the two whole
    embeddings, residuals included.

    >>> query, match = torch.tensor([[3.0, 0.0], [0.0, 4.0]]), torch.tensor([[0.0, 2.0]])
    >>> cell_similarity(query, match, torch.tensor(5.0), torch.tensor(2.0))
    tensor([[0.0000],
            [0.8000]])
    """
    return query @ match.T / _not_zero(query_norm * match_norm)


def mutual_best_matches(similarities: Float[Tensor, "N M"]) -> Int[Tensor, "P 2"]:
    """Pairs (query cell, match cell) that prefer each other to all others, best first.

    Pairs with a similarity of zero or less are left out. Ties go to the lower cell number.

    >>> mutual_best_matches(torch.tensor([[0.9, 0.1], [0.8, 0.3], [0.0, 0.4]]))
    tensor([[0, 0],
            [2, 1]])
    """
    best_match = similarities.argmax(1)  # (N,)
    best_query = similarities.argmax(0)  # (M,)
    cells = torch.arange(similarities.shape[0], device=similarities.device)
    mutual = (best_query[best_match] == cells) & (similarities[cells, best_match] > 0)
    pairs = torch.stack([cells[mutual], best_match[mutual]], dim=1)
    order = similarities[pairs[:, 0], pairs[:, 1]].argsort(descending=True, stable=True)
    return pairs[order]


def _not_zero(norm: Float[Tensor, ""]) -> Float[Tensor, ""]:
    return norm.clamp(min=torch.finfo(norm.dtype).tiny)
