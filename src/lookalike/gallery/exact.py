"""Exact nearest neighbors by cosine: the same order for one query as for many, also of near ties."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from lookalike.types import FloatArray

_SPARE = 16  # rows re-scored beyond those asked for
_WIDENING = 4  # factor where more are too near to tell
_UNIT = 2.0**-24  # rounding of float32
_TWICE = 2.1  # two products are off, of vectors that are nearly of unit length
_BLOCK = 4096  # rows re-scored at once
_FEW_THREADS = 2
_MANY = 8  # queries from which on one product of matrices is faster than a product for each
_MOST_PRODUCTS = 2**24  # of a batch of queries with a gallery: 64 MiB


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
    wide = unit.double()
    cosines = torch.cat([gallery[part].double() @ wide for part in torch.split(rows, _BLOCK)]).float()
    best = cosines.sort(descending=True, stable=True)
    return rows[best.indices[:n]], best.values[:n]


@final
class BatchProducts:
    """Products of many queries with a gallery, computed together when the first of them is asked for.

    A few queries are left to ``products``.
    """

    def __init__(self, units: Sequence[Tensor]) -> None:
        self._units = list(units) if len(units) >= _MANY else []  # (D,) each
        self._computed: dict[int, Tensor] = {}
        self._gallery = torch.empty(0)  # that they were computed with, (G, D)

    def of(self, unit: Tensor, gallery: Tensor) -> Tensor | None:
        """Return the products (G,) of one of the queries, once; None if it is not one of them.

        ``gallery`` (G, D) may be another one than at the last call, as when rows were added meanwhile.
        """
        place = next((i for i, each in enumerate(self._units) if each is unit), None)
        if place is None:
            return None
        is_same = (gallery.data_ptr(), gallery.shape) == (self._gallery.data_ptr(), self._gallery.shape)
        if place not in self._computed or not is_same:
            together = self._units[place : place + max(1, _MOST_PRODUCTS // max(1, len(gallery)))]
            of_all = torch.stack(together) @ gallery.T  # (Q, G)
            self._computed, self._gallery = dict(enumerate(of_all, start=place)), gallery
        return self._computed.pop(place)
