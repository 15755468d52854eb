"""k-reciprocal encoding: similarity of items by their mutual neighbors.

Zhong, Zheng, Cao, Li, *Re-ranking person re-identification with k-reciprocal encoding*, CVPR
2017. Node 0 is the query, nodes 1 to K its shortlist, in any order.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lookalike.ops.neighbors import largest_k


def k_reciprocal_scores(
    query: Float[Tensor, " D"], candidates: Float[Tensor, "K D"], *, k1: int, k2: int, mix: float
) -> Float[Tensor, " K"]:
    """One minus the published distance: ``(1 - mix) * Jaccard similarity + mix * (1 - distance)``: (K,).

    ``mix`` in [0, 1] is the paper's lambda (equation 12). All vectors are unit vectors.

    >>> query, candidates = torch.tensor([1.0, 0.0]), torch.tensor([[0.8, 0.6], [0.0, 1.0]])
    >>> k_reciprocal_scores(query, candidates, k1=1, k2=1, mix=0.3).argsort(descending=True)
    tensor([0, 1])
    """
    distances = node_distances(query, candidates)
    encoding = k_reciprocal_encoding(distances, k1=k1, k2=k2)
    shared = torch.minimum(encoding[:1], encoding[1:]).sum(1)  # (K,)
    jaccard = shared / (2 - shared)  # rows sum to one, so the sum of maxima is 2 - shared
    return (1 - mix) * jaccard + mix * (1 - distances[0, 1:])


def node_distances(query: Float[Tensor, " D"], candidates: Float[Tensor, "K D"]) -> Float[Tensor, "N N"]:
    """Squared Euclidean distances of all nodes, each row divided by its largest, in [0, 1].

    Dividing follows the authors' code; both terms of the mix are then in [0, 1].
    """
    nodes = torch.cat([query[None], candidates])  # (N, D)
    distances = (2 - 2 * nodes @ nodes.T).clamp(min=0).fill_diagonal_(0)
    return distances / distances.amax(1, keepdim=True).clamp(min=torch.finfo(distances.dtype).tiny)


def k_reciprocal_encoding(distances: Float[Tensor, "N N"], *, k1: int, k2: int) -> Float[Tensor, "N N"]:
    """Each node's weights over its expanded mutual neighbors, rows summing to one.

    Equations 3 (mutual neighbors), 4 (their expansion by half as many where more than two thirds
    agree), 7 (weights ``exp(-distance)``) and 11 (mean over the k2 nearest, itself the first).
    """
    n_nodes = len(distances)
    ranks = _self_first_ranks(distances, max(k1 + 1, k2))
    members, mutual = _mutual(ranks[:, : k1 + 1], n_nodes)
    half_members, half_mutual = _mutual(ranks[:, : round(k1 / 2) + 1], n_nodes)
    is_mutual = _as_sets(members, mutual, n_nodes)  # (N, N)

    of_members = half_members[members]  # (N, k1 + 1, half + 1): half-neighbors of each neighbor
    valid = half_mutual[members]
    node = torch.arange(n_nodes, device=distances.device)[:, None, None]
    n_agreeing = (is_mutual[node, of_members] & valid).sum(2)
    joins = mutual & (3 * n_agreeing > 2 * valid.sum(2))
    expanded = is_mutual | _as_sets(of_members.flatten(1), (valid & joins[..., None]).flatten(1), n_nodes)

    weights = torch.exp(-distances) * expanded
    weights = weights / weights.sum(1, keepdim=True)
    return torch.stack([weights[column] for column in ranks[:, :k2].T]).mean(0)


def k_reciprocal_removals(encoding: Float[Tensor, "M N"], node: int) -> Float[Tensor, " N"]:
    """Influence of each node on the Jaccard similarity of the query, row 0, with another row: (N,).

    Signed: the similarity less its value without the term of node j, positive where both have j
    among their neighbors, negative where only one has.
    """
    low, high = (f(encoding[0], encoding[node]) for f in (torch.minimum, torch.maximum))
    without = (low.sum() - low) / (high.sum() - high).clamp(min=torch.finfo(high.dtype).eps)
    return low.sum() / high.sum() - without


def _self_first_ranks(distances: Float[Tensor, "N N"], k: int) -> Int[Tensor, "N k_found"]:
    """Nearest nodes of each node, itself first even where it has duplicates."""
    return largest_k((-distances).fill_diagonal_(1.0), k)[1]


def _mutual(ranks: Int[Tensor, "N k"], n_nodes: int) -> tuple[Int[Tensor, "N k"], Bool[Tensor, "N k"]]:
    """The neighbors, and whether each has the node among its own neighbors."""
    is_near = _as_sets(ranks, torch.ones_like(ranks, dtype=torch.bool), n_nodes)
    return ranks, is_near.T.gather(1, ranks)


def _as_sets(
    columns: Int[Tensor, "N k"], chosen: Bool[Tensor, "N k"], n_nodes: int
) -> Bool[Tensor, "N n_nodes"]:
    """Row i marks the columns that are chosen for it."""
    counts = torch.zeros(len(columns), n_nodes, device=columns.device)
    return counts.scatter_add_(1, columns, chosen.to(counts.dtype)) > 0
