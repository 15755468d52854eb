"""Parts of a graph of links, kept from chaining: a to b and b to c does not make a and c one thing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
from numpy.typing import NDArray

from lookalike.types import FloatArray


@final
class LinkedParts:
    """Disjoint parts of G rows, joined link by link where their mean similarity allows it.

    Two parts are joined only if the mean cosine of all pairs across them is ``least`` or more: average
    linkage (Sokal and Michener 1958) restricted to the links, which the sums of unit vectors give without
    comparing pairs. Give the links best first.
    """

    def __init__(self, vectors: FloatArray) -> None:
        self._vectors = vectors
        self._parent = np.arange(len(vectors))
        self._sums: dict[int, NDArray[np.float64]] = {}  # of parts of two rows and more
        self._members: dict[int, list[int]] = {}

    def join(self, first: int, second: int, *, least: float) -> bool:
        """Join the parts of two rows unless they are too unlike; return whether both are in one part now."""
        a, b = self._root(first), self._root(second)
        if a == b:
            return True
        if self.mean_cosine(a, b) < least:
            return False
        if len(self._rows(a)) < len(self._rows(b)):
            a, b = b, a
        total = self._sum(a) + self._sum(b)
        self._members[a] = [*self._rows(a), *self._rows(b)]
        self._members.pop(b, None)
        self._sums.pop(b, None)
        self._sums[a], self._parent[b] = total, a
        return True

    def mean_cosine(self, first: int, second: int) -> float:
        """Return the mean cosine of the pairs across the parts of two rows."""
        a, b = self._root(first), self._root(second)
        return float(self._sum(a) @ self._sum(b)) / (len(self._rows(a)) * len(self._rows(b)))

    def is_together(self, first: int, second: int) -> bool:
        """Whether two rows are in one part."""
        return self._root(first) == self._root(second)

    def parts(self) -> list[list[int]]:
        """Return the parts of two rows and more, largest first, each in the order of its rows."""
        found = [sorted(rows) for rows in self._members.values() if len(rows) > 1]
        return sorted(found, key=lambda rows: (-len(rows), rows[0]))

    def copy(self) -> LinkedParts:
        """Return the same parts, to be joined further."""
        other = LinkedParts(self._vectors)
        other._parent = self._parent.copy()
        other._sums = dict(self._sums)
        other._members = {root: list(rows) for root, rows in self._members.items()}
        return other

    def _root(self, row: int) -> int:
        while self._parent[row] != row:
            self._parent[row] = self._parent[self._parent[row]]
            row = int(self._parent[row])
        return row

    def _rows(self, root: int) -> Sequence[int]:
        return self._members.get(root, [root])

    def _sum(self, root: int) -> NDArray[np.float64]:
        found = self._sums.get(root)
        return self._vectors[root].astype(np.float64) if found is None else found
