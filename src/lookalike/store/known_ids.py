"""The ids of a table's version in 8 bytes each, so that adding rows need not ask the table for each id."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from hashlib import blake2b
from typing import final

import numpy as np

from lookalike.store.sorted_set import SortedSet


@final
class KnownIds:
    """A set of hashes that contains those of all ids of one version of a table.

    That an id is new is certain; that it is known is not, as other ids can share its hash, and removed ones
    may be among them.
    """

    def __init__(self, version: int, batches: Iterable[Iterable[str]]) -> None:
        self.version = version
        parts = [np.fromiter(map(_number, ids), np.uint64) for ids in batches]
        self._numbers: SortedSet[int] = SortedSet(np.concatenate([np.empty(0, np.uint64), *parts]))

    def maybe_known(self, ids: Iterable[str]) -> Iterator[str]:
        """Yield those of the ids that may be in the table; the others are not."""
        return (id for id in ids if _number(id) in self._numbers)

    def take_in(self, ids: Iterable[str], version: int) -> None:
        """Add the ids of all rows that a later version has more."""
        for id in ids:
            self._numbers.add(_number(id))
        self.version = version


def _number(id: str) -> int:
    return int.from_bytes(blake2b(id.encode(), digest_size=8).digest(), "big")
