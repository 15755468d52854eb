"""Clusters of items that have distances and no vectors, and the agreement of clusters with labels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Int
from torch import Tensor

# Distances (R, C), 0 or more, of the items in R rows with those in C rows.
Distances = Callable[[Tensor, Tensor], Tensor]
_BLOCK = 2**22  # distances held at once: 16 MiB


def k_medoids(
    n_items: int, n_clusters: int, distances: Distances, *, max_steps: int = 20, seed: int = 0
) -> Int[Tensor, " N"]:
    """Number of the cluster of each item, for distances that no vectors have: (N,) int64.

    The first medoids are drawn with probability proportional to the distance to those drawn before
    (Arthur and Vassilvitskii, SODA 2007, for squared distances); then items go to the nearest medoid and
    the item with the smallest sum of distances in its cluster is its medoid, until nothing changes (Park
    and Jun, Expert Systems with Applications 2009). It takes N x n_clusters distances and those inside the
    clusters a step, and holds few of them at once. Raises ValueError for more clusters than items.

    >>> places = torch.tensor([0.0, 0.1, 5.0, 5.1, 5.2])
    >>> k_medoids(5, 2, lambda a, b: (places[a, None] - places[b]).square()).unique().tolist()
    [0, 1]
    """
    if not 1 <= n_clusters <= n_items:
        raise ValueError(f"clusters are 1 to the {n_items} items, got {n_clusters}")
    medoids = _first_medoids(n_items, n_clusters, distances, torch.Generator().manual_seed(seed))
    clusters = _nearest_medoid(n_items, medoids, distances)
    for _ in range(max_steps):
        moved = torch.stack([_medoid(clusters, i, medoids[i], distances) for i in range(n_clusters)])
        if torch.equal(moved, medoids):
            break
        medoids = moved
        clusters = _nearest_medoid(n_items, medoids, distances)
    return clusters


def mutual_information(codes: Int[Tensor, " N"], clusters: Int[Tensor, " N"]) -> tuple[float, float]:
    """Mutual information of clusters with labels: normalized, in [0, 1], and adjusted for chance, at most 1.

    Both divide by the arithmetic mean of the entropies; the adjusted one takes from both what random
    clusters of the same sizes have on average (Vinh, Epps, Bailey, JMLR 2010). Where both sides are one
    group, or N groups, they agree, and both are 1.

    >>> mutual_information(torch.tensor([0, 0, 1, 1]), torch.tensor([1, 1, 0, 0]))
    (1.0, 1.0)
    """
    both = torch.unique(torch.stack([codes, clusters]), dim=1, return_counts=True)[1]
    rows, columns = (torch.unique(side, return_counts=True)[1] for side in (codes, clusters))
    n = len(codes)
    if len(rows) == len(columns) and len(rows) in (1, n):
        return 1.0, 1.0
    joint, of_rows, of_columns = (_entropy(counts, n) for counts in (both, rows, columns))
    information, mean = max(of_rows + of_columns - joint, 0.0), (of_rows + of_columns) / 2
    by_chance = _expected_information(rows, columns, n)
    spread = mean - by_chance
    return information / mean, (information - by_chance) / spread if abs(spread) > 1e-15 else 0.0


def pair_f1(codes: Int[Tensor, " N"], clusters: Int[Tensor, " N"]) -> float:
    """F1 over all pairs of items: found is a pair in one cluster, relevant one of one label; in [0, 1].

    Without a pair of either kind nothing is missed and nothing wrong, so it is 1.

    >>> pair_f1(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
    0.4
    """
    both = torch.unique(torch.stack([codes, clusters]), dim=1, return_counts=True)[1]
    n_relevant, n_found = (_n_pairs(torch.unique(side, return_counts=True)[1]) for side in (codes, clusters))
    return 2 * _n_pairs(both) / (n_relevant + n_found) if n_relevant + n_found else 1.0


def _entropy(counts: Tensor, n: int) -> float:
    shares = counts.double() / n
    return float(-(shares * shares.log()).sum())


def _expected_information(rows: Tensor, columns: Tensor, n: int) -> float:
    """Mean mutual information of random partitions with these sizes, under the hypergeometric model."""
    total = 0.0
    log_of = torch.lgamma(torch.arange(1, n + 2, dtype=torch.double))  # of the factorials 0 to n
    sizes = [torch.unique(side, return_counts=True) for side in (rows, columns)]
    for a, n_a in zip(*(each.tolist() for each in sizes[0]), strict=True):
        for b, n_b in zip(*(each.tolist() for each in sizes[1]), strict=True):
            both = torch.arange(max(1, a + b - n), min(a, b) + 1)
            chance = log_of[a] + log_of[b] + log_of[n - a] + log_of[n - b] - log_of[n] - log_of[both]
            chance = chance - log_of[a - both] - log_of[b - both] - log_of[n - a - b + both]
            share = both.double() / n
            terms = share * (share * n * n / (a * b)).log() * chance.exp()
            total += n_a * n_b * float(terms.sum())
    return total


def _n_pairs(counts: Tensor) -> float:
    return float((counts.double() * (counts - 1) / 2).sum())


def _first_medoids(n_items: int, n_clusters: int, distances: Distances, generator: torch.Generator) -> Tensor:
    items = torch.arange(n_items)
    medoids = torch.randint(n_items, (1,), generator=generator)
    nearest = distances(items, medoids)[:, 0].double().clamp(min=0)
    while len(medoids) < n_clusters:
        nearest[medoids] = 0
        left = torch.ones(n_items, dtype=torch.double).index_fill(0, medoids, 0)
        chances = nearest if nearest.sum() > 0 else left  # all lie on a medoid: any other item
        new = torch.multinomial(chances, 1, generator=generator)
        nearest = torch.minimum(nearest, distances(items, new)[:, 0].double().clamp(min=0))
        medoids = torch.cat([medoids, new])
    return medoids


def _nearest_medoid(n_items: int, medoids: Tensor, distances: Distances) -> Tensor:
    step = max(1, _BLOCK // len(medoids))
    clusters = torch.cat(
        [distances(rows, medoids).argmin(1) for rows in torch.split(torch.arange(n_items), step)]
    )
    clusters[medoids] = torch.arange(len(medoids))  # a medoid stays in its cluster, so that none is empty
    return clusters


def _medoid(clusters: Tensor, number: int, before: Tensor, distances: Distances) -> Tensor:
    """The member with the smallest sum of distances to its cluster; the one before, if as small."""
    members = (clusters == number).nonzero()[:, 0]
    step = max(1, _BLOCK // len(members))
    sums = torch.cat([distances(rows, members).double().sum(1) for rows in torch.split(members, step)])
    return before if sums[members == before] <= sums.min() else members[sums.argmin()]
