"""Re-ranking by refined embeddings of the best candidates and of the query, without training.

Shao, Chen, Karpur, Cui, Araujo, Cao, *Global Features are All You Need for Image Retrieval and
Reranking* (SuperGlobal), ICCV 2023, with what the authors' code does where the paper leaves it open:
weights may be negative, refined vectors are not normalized, and the query is not part of its maximum.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lookalike.ops.neighbors import largest_k


def superglobal_scores(
    query: Float[Tensor, " D"], candidates: Float[Tensor, "K D"], *, n: int, beta: float
) -> Float[Tensor, " K"]:
    """``(q · r_i + m · r_i) / 2`` of each refined candidate r_i: (K,).

    ``R = refinement_weights(...) @ candidates``, and m is the largest value, dimension by dimension, of
    the n + 1 refined candidates closest to the query. All vectors given are unit vectors; scores are not
    bounded by one.

    >>> query, candidates = torch.tensor([1.0, 0.0]), torch.tensor([[0.8, 0.6], [0.0, 1.0]])
    >>> superglobal_scores(query, candidates, n=1, beta=0.5)
    tensor([0.8112, 0.5611])
    """
    refined = refinement_weights(candidates, n=n, beta=beta) @ candidates
    return refined @ (query + refined[_closest(query, refined, n)].amax(0)) / 2


def refinement_weights(candidates: Float[Tensor, "K D"], *, n: int, beta: float) -> Float[Tensor, "K K"]:
    """Part of candidate j (column) in the refined candidate i (row); rows sum to one.

    Itself has weight 1 and its n nearest other candidates ``beta * cosine``, divided by their sum. A
    candidate whose weights sum to zero or less, because its neighbors point the other way, stays itself.
    """
    cosines = candidates @ candidates.T
    neighbors = largest_k(cosines.clone().fill_diagonal_(-torch.inf), min(n, len(candidates) - 1))[1]
    weights = torch.zeros_like(cosines).scatter_(1, neighbors, beta * cosines.gather(1, neighbors))
    weights.fill_diagonal_(1.0)
    total = weights.sum(1, keepdim=True)
    itself = torch.eye(len(candidates), dtype=weights.dtype, device=weights.device)
    return torch.where(total > 0, weights / total, itself)


def superglobal_terms(
    query: Float[Tensor, " D"], candidates: Float[Tensor, "K D"], position: int, *, n: int, beta: float
) -> Float[Tensor, " K"]:
    """What each candidate adds to the score of the one at ``position``: (K,), summing to that score.

    Candidate j adds ``w_j q · x_j / 2`` for its part in the refined candidate r, and ``m_d r_d / 2`` for
    each dimension d in which its own refined vector is the maximum m; equal maxima share the amount.
    """
    weights = refinement_weights(candidates, n=n, beta=beta)
    refined = weights @ candidates
    best = _closest(query, refined, n)
    largest = refined[best].amax(0)
    holds = (refined[best] == largest).to(refined.dtype)  # (n + 1, D)
    by_maximum = holds / holds.sum(0) @ (largest * refined[position])
    by_part = weights[position] * (candidates @ query)
    return by_part.index_add(0, best, by_maximum) / 2


def _closest(query: Float[Tensor, " D"], refined: Float[Tensor, "K D"], n: int) -> Int[Tensor, " n_and_1"]:
    return largest_k((refined @ query)[None], n + 1)[1][0]
