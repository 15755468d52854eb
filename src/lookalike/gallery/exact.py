"""Exact nearest neighbors by cosine: the same order for one query as for many, also of near ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias, final

import numpy as np
import torch
from torch import Tensor

from lookalike.types import FloatArray

_SPARE = 16  # rows re-scored beyond those asked for
_WIDENING = 4  # factor where more are too near to tell
_UNIT = 2.0**-24  # rounding of float32
_TWICE = 2.1  # two products are off, of vectors that are nearly of unit length
_BLOCK = 4096  # rows re-scored at once
_SLICE = 1536  # rows multiplied with many queries at once: the products stay in the processor's cache
_FEW_THREADS = 2
_MANY = 8  # queries from which on one product of matrices is faster than a product for each
_WAITING = 1024  # rows that are found, of all queries, before the best are sorted anew
_DENSE = 1 / 8  # part of a slice's scores that are better: all of them are then sorted in at once
_MOST_BEST = 4096  # rows sought for each of many queries; beyond, one query after the other

_Numbers: TypeAlias = np.ndarray[Any, np.dtype[np.int64]]


def products(embeddings: FloatArray, unit: Tensor) -> Tensor:
    """Return the products of a gallery (G, D) with a vector (D,), (G,) float32.

    On one or two threads numpy's own sum of products is used: it takes half the time of torch's product of a
    matrix and a vector on AMD's processors (docs/scale.md).
    """
    if torch.get_num_threads() > _FEW_THREADS:
        return torch.from_numpy(embeddings) @ unit
    return torch.from_numpy(np.einsum("gd,d->g", embeddings, unit.numpy()))


def exact_best(scores: Tensor, gallery: Tensor, unit: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the n best rows of a gallery (G, D), best first, and their cosines: (n,) int64 and float32.

    ``scores`` (G,) float32 are the products with ``unit`` (D,), -inf for rows left out, of which there
    are G - n at most. A product of unit vectors is off by D * 2^-24 at most, in whatever order a library adds
    it up; so every row that may belong to the n best is multiplied again in float64. Equal cosines are in the
    order of the rows.
    """
    n = min(n, len(scores))
    if n == 0:
        return torch.empty(0, dtype=torch.int64), torch.empty(0)
    margin = _TWICE * len(unit) * _UNIT
    n_looked_at = min(n + _SPARE, len(scores))
    found = scores.topk(n_looked_at)
    while n_looked_at < len(scores) and found.values[-1] >= found.values[n - 1] - margin:
        n_looked_at = min(_WIDENING * n_looked_at, len(scores))
        found = scores.topk(n_looked_at)
    near = found.values >= found.values[n - 1] - margin
    rows = found.indices[near & (found.values > -torch.inf)].sort().values
    return best_of(rows, gallery, unit, n)


def best_of(rows: Tensor, gallery: Tensor, unit: Tensor, n: int) -> tuple[Tensor, Tensor]:
    """Return the n best of some rows (R,), which ascend, by cosines in float64; as ``exact_best``."""
    wide = unit.double()
    cosines = torch.cat([gallery[part].double() @ wide for part in torch.split(rows, _BLOCK)]).float()
    best = cosines.sort(descending=True, stable=True)
    return rows[best.indices[:n]], best.values[:n]


def nearest_candidates(
    gallery: Tensor, units: Tensor, n: int, allowed: Tensor | None = None
) -> list[Tensor | None]:
    """Return for each query (Q, D) the rows of a gallery (G, D), ascending, that may belong to its n best.

    Only rows with ``allowed`` (G,) bool count. The gallery is multiplied in slices, of which the best are
    kept. None for a query that has more rows within the rounding of its n-th than are kept.
    """
    n_allowed = len(gallery) if allowed is None else int(allowed.sum())
    n = min(n, n_allowed)
    if n == 0:
        return [torch.empty(0, dtype=torch.int64) for _ in units]
    n_kept = min(n + _SPARE, len(gallery))
    step = max(_SLICE, n_kept)
    kept: _Kept | None = None
    for start in range(0, len(gallery), step):
        scores = units @ gallery[start : start + step].T  # (Q, S)
        if allowed is not None:
            scores.masked_fill_(~allowed[start : start + step], -torch.inf)
        if kept is None:
            kept = _Kept(*scores.topk(n_kept))
        else:
            kept.take(scores.numpy(), start)
    assert kept is not None
    best, rows = kept.sorted()
    least = best[:, n - 1 : n] - _TWICE * units.shape[1] * _UNIT
    is_near = (best >= least) & (best > -np.inf)
    return [
        None if near.all() and n_kept < n_allowed else torch.from_numpy(np.sort(mine[near]))
        for mine, near in zip(rows, is_near, strict=True)
    ]


@final
class _Kept:
    """The best rows of each of Q queries so far, of which others are sorted in from time to time."""

    def __init__(self, best: Tensor, rows: Tensor) -> None:
        self._best, self._rows = best.numpy(), rows.numpy()  # (Q, n), descending
        self._waiting: list[tuple[_Numbers, FloatArray, _Numbers]] = []  # query, score and row, (P,) each
        self._n_waiting = 0

    def take(self, scores: FloatArray, start: int) -> None:
        """Note what is better than the worst, among the scores (Q, S) of the rows from ``start`` on."""
        places = np.flatnonzero((scores > self._best[:, -1:]).ravel())
        if len(places) > _DENSE * scores.size:
            best, rows = self.sorted()
            found = torch.from_numpy(np.hstack([best, scores])).topk(best.shape[1])
            columns = start + np.arange(scores.shape[1])
            of_all = np.hstack([rows, np.broadcast_to(columns, scores.shape)])
            self._best = found.values.numpy()
            self._rows = np.take_along_axis(of_all, found.indices.numpy(), axis=1)
            return
        queries, columns = np.divmod(places, scores.shape[1])
        self._waiting.append((queries, scores.ravel()[places], start + columns))
        self._n_waiting += len(places)
        if self._n_waiting >= _WAITING:
            self.sorted()

    def sorted(self) -> tuple[FloatArray, _Numbers]:
        """Return scores and rows (Q, n) of the best, descending."""
        n_queries, n = self._best.shape
        first = (np.arange(n_queries).repeat(n), self._best.ravel(), self._rows.ravel())
        queries, scores, rows = (np.concatenate(each) for each in zip(first, *self._waiting, strict=True))
        order = np.lexsort((-scores, queries))
        starts = np.searchsorted(queries[order], np.arange(n_queries))
        chosen = order[starts[:, None] + np.arange(n)]
        self._best, self._rows = scores[chosen], rows[chosen]
        self._waiting, self._n_waiting = [], 0
        return self._best, self._rows


@final
class Batch:
    """Queries that are searched for one after the other, with the same number of hits and filter.

    Their candidates are found together when the first is asked for; a few queries are not worth it.
    """

    def __init__(self, units: Sequence[Tensor]) -> None:
        self._units = list(units) if len(units) >= _MANY else []  # (D,) each
        self._candidates: dict[int, Tensor | None] = {}
        self._of: tuple[Tensor, int, Tensor | None] | None = None  # gallery, n, filter

    def candidates(self, unit: Tensor, gallery: Tensor, n: int, allowed: Tensor | None) -> Tensor | None:
        """Return rows of the gallery (G, D), among them the n + 1 best that are allowed; see ``exact_best``.

        None if the query is not one of them or has to be searched for alone. ``gallery`` may be another one
        than at the last call, as when rows were added meanwhile; so may the others.
        """
        place = next((i for i, each in enumerate(self._units) if each is unit), None)
        if place is None or n >= _MOST_BEST:
            return None
        if not self._is_of(gallery, n, allowed):
            found = nearest_candidates(gallery, torch.stack(self._units), n + 1, allowed)
            self._candidates, self._of = dict(enumerate(found)), (gallery, n, allowed)
        return self._candidates[place]

    def _is_of(self, gallery: Tensor, n: int, allowed: Tensor | None) -> bool:
        if self._of is None:
            return False
        other, n_before, filter_before = self._of
        is_same = (gallery.data_ptr(), gallery.shape) == (other.data_ptr(), other.shape)
        return is_same and n == n_before and allowed is filter_before
