"""Diffusion of similarity from the query along a graph of neighbors.

Iscen, Tolias, Avrithis, Furon, Chum, *Efficient diffusion on region manifolds*, CVPR 2017, after
Donoser and Bischof, *Diffusion processes for retrieval revisited*, CVPR 2013; truncated to the
shortlist and solved directly.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lookalike.ops.neighbors import largest_k


def diffuse(graph: Float[Tensor, "K K"], seeds: Float[Tensor, " K"], *, alpha: float) -> Float[Tensor, " K"]:
    """Stationary scores of diffusion from the query's seeds along the graph: (K,).

    Solves ``(I - alpha S) f = (1 - alpha) y`` (equation 5), with 0 <= alpha < 1. The eigenvalues of S
    are at most one, so the system is positive definite and Cholesky's factorization is exact.
    """
    if not 0 <= alpha < 1:
        raise ValueError(f"alpha is at least 0 and below 1, got {alpha}")
    factor = torch.linalg.cholesky(_system(graph, alpha))
    solved = torch.cholesky_solve((1 - alpha) * seeds.double()[:, None], factor)
    return solved[:, 0].to(seeds.dtype)


def diffusion_graph(candidates: Float[Tensor, "K D"], *, n: int, power: float) -> Float[Tensor, "K K"]:
    """S: ``max(cosine, 0) ** power`` between mutual n-nearest neighbors, symmetrically normalized.

    Equations 1 to 3; the diagonal is zero, and so are rows of items that have no mutual neighbor.
    """
    cosines = (candidates @ candidates.T).fill_diagonal_(-torch.inf)
    rows = largest_k(cosines, min(n, len(candidates) - 1))[1]
    is_near = torch.zeros_like(cosines).scatter_(1, rows, 1.0) > 0
    affinity = torch.where(is_near & is_near.T, cosines.clamp(min=0).pow(power), 0.0)
    affinity = (affinity + affinity.T) / 2  # products may differ in their last bit
    degree = affinity.sum(1)
    scale = torch.where(degree > 0, degree.rsqrt(), 0.0)
    return scale[:, None] * affinity * scale


def query_seeds(cosines: Float[Tensor, " K"], *, n: int, power: float) -> Float[Tensor, " K"]:
    """y: ``max(cosine, 0) ** power`` of the query's n nearest, zero elsewhere (section 4.1)."""
    rows = largest_k(cosines[None], n)[1][0]
    return torch.zeros_like(cosines).scatter_(0, rows, cosines[rows].clamp(min=0).pow(power))


def diffusion_removals(
    graph: Float[Tensor, "K K"], seeds: Float[Tensor, " K"], *, alpha: float
) -> Float[Tensor, "K K"]:
    """Influence of candidate j (column) on the score of candidate i (row): the flow through j.

    It is ``f_i`` less its value with j removed from the graph, degrees kept: with the inverse
    R of the system, ``R_ij f_j / R_jj`` by the formula for the inverse of a bordered matrix.
    """
    inverse = torch.linalg.inv(_system(graph, alpha))
    state = (1 - alpha) * inverse @ seeds.double()
    removals: Tensor = inverse * (state / inverse.diagonal())
    return removals.to(seeds.dtype)


def _system(graph: Float[Tensor, "K K"], alpha: float) -> Float[Tensor, "K K"]:
    graph = graph.double()
    return torch.eye(len(graph), dtype=graph.dtype, device=graph.device) - alpha * graph
