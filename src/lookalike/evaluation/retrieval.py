"""Retrieval of every query in a gallery, in blocks: metrics of each query and its first hits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lookalike.evaluation.labeled import LabeledEmbeddings, check_can_be_judged
from lookalike.ops.metrics_per_query import (
    average_precisions,
    average_precisions_at_r,
    is_recalled_at_k,
    r_precisions,
    reciprocal_ranks,
)
from lookalike.ops.neighbors import largest_k
from lookalike.ops.relevant_ranks import relevant_ranks
from lookalike.types import ProgressCallback, tracked

_BLOCK = 2**23  # similarities held at once: 32 MiB of float32, and some four times that beside them
OTHER_METRICS = {
    "r_precision": r_precisions,
    "map_at_r": average_precisions_at_r,
    "mean_average_precision": average_precisions,
    "mean_reciprocal_rank": reciprocal_ranks,
}


@dataclass(frozen=True, eq=False, repr=False)
class Retrieved:
    """Metrics and first hits of every query that has a match."""

    queries: LabeledEmbeddings
    gallery: LabeledEmbeddings  # the queries themselves if each image queries all others
    leaves_self_out: bool  # whether the gallery is the queries, each without itself
    metrics: tuple[str, ...]  # M names
    values: Tensor  # (Q, M) float64: each metric of each query that has a match
    asked: Tensor  # (Q,) rows of the queries that have a match
    first_ranks: Tensor  # (Q,) int64 rank of the first hit with the query's label, 1 is the best
    nearest: Tensor  # (Q, K) rows of the gallery, best first
    similarities: Tensor  # (Q, K) of the nearest: cosines, or for AVSL one minus half the distance

    def __repr__(self) -> str:
        return f"<Retrieved: {len(self.asked):,} queries in {len(self.gallery):,} images>"

    @property
    def n_without_match(self) -> int:
        """Number of queries left out because the gallery holds nothing with their label."""
        return len(self.queries) - len(self.asked)

    def is_right(self) -> Tensor:
        """Whether each of the nearest has the query's label: (Q, K) bool."""
        query_codes, gallery_codes = label_codes(self.queries, self.gallery)
        return gallery_codes[self.nearest] == query_codes[self.asked, None]


def retrieve(
    queries: LabeledEmbeddings,
    gallery: LabeledEmbeddings | None = None,
    *,
    ks: Sequence[int] = (1, 2, 4, 8),
    depth: int = 10,
    progress: ProgressCallback | None = None,
) -> Retrieved:
    """Search the gallery with every query; without a gallery each image queries all others.

    Images of an AVSL model are compared by its inferred distance, others by the cosine. Without a
    gallery an image's own row is no result, but an exact copy in another row is. Equal
    similarities are ranked in the order of the gallery's rows. Queries without a match are left out.
    ``ks`` are those of Recall@K, ``depth`` is the number of hits kept. Memory is bounded by a block of
    similarities, not by Q x G. Raises DatasetError if nothing can be judged, ValueError for a k below 1.
    """
    if not ks or min(ks) < 1 or depth < 1:
        raise ValueError(f"each k of recall and the depth are 1 or more, got {list(ks)} and {depth}")
    check_can_be_judged(queries, gallery)
    is_self, gallery = gallery is None, gallery or queries
    query_codes, gallery_codes = label_codes(queries, gallery)
    members = _Members(gallery_codes, 1 + int(torch.cat([query_codes, gallery_codes]).max()))
    asked = (members.counts[query_codes] > is_self).nonzero()[:, 0]
    names = (*(f"recall_at_{k}" for k in ks), *OTHER_METRICS)
    values = torch.empty(len(asked), len(names), dtype=torch.float64)
    depth = min(depth, len(gallery) - is_self)
    first_ranks = torch.empty(len(asked), dtype=torch.long)
    nearest = torch.empty(len(asked), depth, dtype=torch.long)
    similarities = torch.empty(len(asked), depth)
    asking = queries.compared
    among = asking if is_self else gallery.compared
    step = max(1, _BLOCK // len(gallery))
    n_blocks = -(-len(asked) // step)
    for block in tracked(range(n_blocks), "ranking", n_blocks, progress):
        here = slice(block * step, (block + 1) * step)
        rows = asked[here]
        found = asking.similarities(rows, among)  # (B, G)
        relevant = members.of(query_codes[rows])  # (B, R), -1 where there are fewer
        if is_self:
            found[torch.arange(len(rows)), rows] = -torch.inf
            relevant = relevant.masked_fill(relevant == rows[:, None], -1)
        ranks = relevant_ranks(found, relevant)
        columns = [is_recalled_at_k(ranks, k) for k in ks]
        values[here] = torch.stack([*columns, *(metric(ranks) for metric in OTHER_METRICS.values())], dim=1)
        first_ranks[here] = ranks[:, 0].long()
        similarities[here], nearest[here] = largest_k(found, depth)
    return Retrieved(queries, gallery, is_self, names, values, asked, first_ranks, nearest, similarities)


def label_codes(queries: LabeledEmbeddings, gallery: LabeledEmbeddings) -> tuple[Tensor, Tensor]:
    """Labels of both sides as integers, equal where the labels are equal: (Q,) and (G,) int64."""
    number = {label: i for i, label in enumerate(sorted({*queries.labels, *gallery.labels}))}
    codes = [torch.tensor([number[label] for label in side.labels]) for side in (queries, gallery)]
    return codes[0], codes[1]


class _Members:
    """Lookup from a label to its rows, without a table of classes x largest class."""

    def __init__(self, codes: Tensor, n_labels: int) -> None:
        self.counts = codes.bincount(minlength=n_labels)  # zero for labels that only queries have
        self._rows = codes.argsort(stable=True)
        self._starts = self.counts.cumsum(0) - self.counts

    def of(self, codes: Tensor) -> Tensor:
        """Rows with each of B labels: (B, R), -1 beyond those that a label has."""
        counts = self.counts[codes]
        offsets = torch.arange(int(counts.max()))
        positions = (self._starts[codes, None] + offsets).clamp(max=len(self._rows) - 1)
        return self._rows[positions].masked_fill(offsets >= counts[:, None], -1)
