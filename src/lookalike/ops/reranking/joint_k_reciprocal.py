"""k-reciprocal encoding of all queries joined with the whole gallery.

Zhong, Zheng, Cao, Li, *Re-ranking person re-identification with k-reciprocal encoding*, CVPR 2017,
as the authors compute it: nodes 0 to Q - 1 are the queries, the G of the gallery follow, and every
node may be a neighbor of every other. Distances are held in blocks of rows and encodings are sparse,
so memory grows with the number of nodes, not with its square.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lookalike.ops.neighbors import largest_k

_NUMBERS = 2**22  # distances, or comparisons of neighbors, held at once


@dataclass(frozen=True)
class SparseRows:
    """A square matrix of which only the numbers that are not zero are held, row by row."""

    starts: Tensor  # (N + 1,) int64: entries starts[i] to starts[i + 1] are those of row i
    columns: Tensor  # (E,) int64, rising within a row
    values: Tensor  # (E,)

    @classmethod
    def summed(cls, n_rows: int, rows: Tensor, columns: Tensor, values: Tensor) -> SparseRows:
        """Return the matrix of entries (T,) in any order; those of one place are added."""
        places, entry = torch.unique(rows * n_rows + columns, return_inverse=True)
        total = values.new_zeros(len(places)).index_add_(0, entry, values)
        counts = (places // n_rows).bincount(minlength=n_rows)
        starts = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
        return cls(starts, places % n_rows, total)

    @property
    def rows(self) -> Tensor:
        """The row of each entry: (E,)."""
        return torch.arange(len(self.starts) - 1).repeat_interleave(self.starts.diff())

    def of(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The entries (T,) of several rows (R,), and to which of those each belongs (T,)."""
        counts = self.starts.diff()[rows]
        which = torch.arange(len(rows)).repeat_interleave(counts)
        before = self.starts[rows] - (counts.cumsum(0) - counts)
        return before[which] + torch.arange(len(which)), which

    def dense(self, row: int) -> Tensor:
        """One row: (N,)."""
        start, stop = self.starts[row : row + 2].tolist()
        whole = self.values.new_zeros(len(self.starts) - 1)
        whole[self.columns[start:stop]] = self.values[start:stop]
        return whole


@dataclass(frozen=True)
class JointEncoding:
    """The weights of all nodes over their expanded mutual neighbors, rows summing to one."""

    weights: SparseRows  # (N, N)
    transposed: SparseRows  # (N, N): which nodes have a weight on each

    def row(self, node: int) -> Float[Tensor, " N"]:
        """The weights of one node, dense."""
        return self.weights.dense(node)

    def shared(self, node: int) -> Float[Tensor, " N"]:
        """Sum over all neighbors of the smaller of the weights of a node and of each node: (N,) in [0, 1]."""
        own = self.row(node)
        neighbors = own.nonzero()[:, 0]
        entries, which = self.transposed.of(neighbors)
        smaller = torch.minimum(own[neighbors][which], self.transposed.values[entries])
        return torch.zeros_like(own).index_add_(0, self.transposed.columns[entries], smaller)


def joint_k_reciprocal_scores(
    encoding: JointEncoding,
    queries: Float[Tensor, "Q D"],
    gallery: Float[Tensor, "G D"],
    candidates: Int[Tensor, "Q K"],
    *,
    mix: float,
) -> Float[Tensor, "Q K"]:
    """One minus the published distance of each query to its candidates, rows of the gallery: (Q, K).

    ``(1 - mix) * Jaccard similarity + mix * (1 - distance)``; ``mix`` in [0, 1] is the paper's lambda
    (equation 12). ``encoding`` is that of the queries and the gallery, all unit vectors.
    """
    nodes = torch.cat([queries, gallery])
    scores = torch.empty(candidates.shape, dtype=queries.dtype)
    for i, rows in enumerate(candidates):
        distances = _distances(nodes, i, i + 1)[0, len(queries) + rows]
        shared = encoding.shared(i)[len(queries) + rows]
        jaccard = shared / (2 - shared)  # rows sum to one, so the sum of maxima is 2 - shared
        scores[i] = (1 - mix) * jaccard + mix * (1 - distances)
    return scores


def joint_encoding(nodes: Float[Tensor, "N D"], *, k1: int, k2: int) -> JointEncoding:
    """The encoding of unit vectors, as ``k_reciprocal_encoding`` of the distances of all nodes.

    >>> encoding = joint_encoding(torch.eye(3)[[0, 0, 1]], k1=1, k2=1)
    >>> encoding.row(0)
    tensor([0.5000, 0.5000, 0.0000])
    """
    n_nodes = len(nodes)
    ranks = _ranks(nodes, max(k1 + 1, k2))
    members, half_members = ranks[:, : k1 + 1], ranks[:, : round(k1 / 2) + 1]
    half_mutual = _are_mutual(half_members, 0, n_nodes)
    step = max(1, _NUMBERS // max(n_nodes, members.shape[1] ** 2 * half_members.shape[1]))
    rows = [
        _weighted(nodes, members, half_members, half_mutual, start, min(start + step, n_nodes))
        for start in range(0, n_nodes, step)
    ]
    indices, values = (torch.cat(parts, dim=-1) for parts in zip(*rows, strict=True))
    weights = SparseRows.summed(n_nodes, indices[0], indices[1], values)
    if k2 > 1:
        nearest = ranks[:, :k2]
        entries, which = weights.of(nearest.flatten())
        averaged = weights.values[entries] / nearest.shape[1]
        weights = SparseRows.summed(n_nodes, which // nearest.shape[1], weights.columns[entries], averaged)
    return JointEncoding(weights, SparseRows.summed(n_nodes, weights.columns, weights.rows, weights.values))


def _distances(nodes: Float[Tensor, "N D"], start: int, stop: int) -> Float[Tensor, "B N"]:
    """Squared Euclidean distances of some nodes to all, each row divided by its largest; 0 to itself."""
    rows = torch.arange(start, stop)
    distances = (2 - 2 * nodes[start:stop] @ nodes.T).clamp(min=0)
    distances[torch.arange(len(rows)), rows] = 0
    return distances / distances.amax(1, keepdim=True).clamp(min=torch.finfo(distances.dtype).tiny)


def _ranks(nodes: Float[Tensor, "N D"], k: int) -> Int[Tensor, "N k_found"]:
    """Nearest nodes of each node, itself first even where it has duplicates."""
    n_nodes, found = len(nodes), []
    step = max(1, _NUMBERS // n_nodes)
    for start in range(0, n_nodes, step):
        nearness = -_distances(nodes, start, min(start + step, n_nodes))
        nearness[torch.arange(len(nearness)), torch.arange(start, start + len(nearness))] = 1.0
        found.append(largest_k(nearness, k)[1])
    return torch.cat(found)


def _are_mutual(members: Int[Tensor, "N k"], start: int, stop: int) -> Bool[Tensor, "B k"]:
    """Whether each neighbor of some nodes has the node among its own."""
    own = torch.arange(start, stop)[:, None, None]
    return (members[members[start:stop]] == own).any(2)


def _weighted(
    nodes: Float[Tensor, "N D"],
    members: Int[Tensor, "N k"],
    half_members: Int[Tensor, "N half"],
    half_mutual: Bool[Tensor, "N half"],
    start: int,
    stop: int,
) -> tuple[Int[Tensor, "2 E"], Float[Tensor, " E"]]:
    """Rows and columns of the weights of some nodes, and the weights, before the mean over neighbors."""
    n_nodes = len(nodes)
    mine, mutual = members[start:stop], _are_mutual(members, start, stop)  # (B, k)
    of_members, valid = half_members[mine], half_mutual[mine]  # (B, k, half)
    mutual_members = torch.where(mutual, mine, -1)
    agrees = (of_members[..., None] == mutual_members[:, None, None]).any(3) & valid
    joins = mutual & (3 * agrees.sum(2) > 2 * valid.sum(2))
    joined = torch.where(valid & joins[..., None], of_members, n_nodes).flatten(1)
    columns = torch.cat([torch.where(mutual, mine, n_nodes), joined], dim=1).sort(dim=1).values
    is_new = columns < n_nodes
    is_new[:, 1:] &= columns[:, 1:] != columns[:, :-1]
    distances = _distances(nodes, start, stop).gather(1, columns.clamp(max=n_nodes - 1))
    weights = torch.exp(-distances) * is_new
    weights = weights / weights.sum(1, keepdim=True)
    rows, positions = is_new.nonzero(as_tuple=True)
    return torch.stack([rows + start, columns[rows, positions]]), weights[rows, positions]
