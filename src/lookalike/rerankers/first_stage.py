"""The first-stage ranking by cosine, what follows its shortlist, and the full order after re-ranking."""

from __future__ import annotations

import torch
from torch import Tensor

from lookalike.ops.neighbors import largest_k, nearest
from lookalike.ops.similarity import cosine_similarity, unit_rows
from lookalike.types import Ranking

_QUERY_BLOCK = 64  # queries sorted at once


def first_stage(queries: Tensor, gallery: Tensor, *, k: int) -> Ranking:
    """Return the k nearest rows of the gallery by exact cosine, or all rows if there are fewer.

    ``queries`` (Q, D) and ``gallery`` (G, D) are scaled to unit length where they do not have it. A query
    that is itself in the gallery finds itself. Raises ValueError for values that are not finite, different
    widths, and empty input.
    """
    for name, vectors in (("queries", queries), ("gallery", gallery)):
        if vectors.ndim != 2 or not vectors.numel():
            raise ValueError(f"{name} should be (items, width), got shape {tuple(vectors.shape)}")
        finite = vectors.isfinite().all(1)
        if not finite.all():
            row = int((~finite).nonzero()[0, 0])
            raise ValueError(
                f"{name} hold NaN or infinity in {int((~finite).sum())} of {len(vectors)} rows, "
                f"first in row {row}; remove those rows or embed them again"
            )
    if queries.shape[1] != gallery.shape[1]:
        raise ValueError(
            f"queries have width {queries.shape[1]} and the gallery {gallery.shape[1]}; "
            "both should come from the same model"
        )
    queries, gallery = (unit_rows(vectors.float()) for vectors in (queries, gallery))
    scores, indices = nearest(queries, gallery, k)
    return Ranking(queries, gallery, indices, scores)


def following_rows(ranking: Ranking, n: int) -> Tensor:
    """Return the next n gallery rows after each shortlist by cosine, best first: (Q, M) int64, M <= n.

    M is less where the gallery has no more rows, or no more that are allowed. Ties go to the lower row.
    """
    n_allowed = len(ranking.gallery) if ranking.allowed is None else int(ranking.allowed.sum())
    n = max(0, min(n, n_allowed - ranking.indices.shape[1]))
    rows = torch.empty(len(ranking.queries), n, dtype=torch.long, device=ranking.indices.device)
    for start in range(0, len(rows) if n else 0, _QUERY_BLOCK):
        block = slice(start, start + _QUERY_BLOCK)
        cosines = cosine_similarity(ranking.queries[block], ranking.gallery)
        if ranking.allowed is not None:
            cosines = cosines.masked_fill(~ranking.allowed, -torch.inf)
        rows[block] = largest_k(cosines.scatter(1, ranking.indices[block], -torch.inf), n)[1]
    return rows


def full_ranks(before: Ranking, after: Ranking) -> Tensor:
    """Return all gallery rows in order for each query, (G, Q) int64: column q is best first for query q.

    The re-ranked shortlist comes first, then the rest by first-stage cosine; ties go to the lower row.
    Queries are sorted in blocks to limit memory.
    """
    n_items, n_queries = len(before.gallery), len(before.queries)
    ranks = torch.empty(n_items, n_queries, dtype=torch.long)
    for start in range(0, n_queries, _QUERY_BLOCK):
        block = slice(start, start + _QUERY_BLOCK)
        order = cosine_similarity(before.queries[block], before.gallery).argsort(
            dim=1, descending=True, stable=True
        )
        is_listed = torch.zeros_like(order, dtype=torch.bool).scatter_(1, after.indices[block], True)
        rest = order[~is_listed.gather(1, order)].reshape(len(order), -1)
        ranks[:, block] = torch.cat([after.indices[block], rest], dim=1).T.cpu()
    return ranks
