"""Sequences whose items are made when they are asked for."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TypeVar, overload

_Item = TypeVar("_Item")


class OnDemand(Sequence[_Item]):
    """A sequence that makes its items by ``item``; slices are lists."""

    @abstractmethod
    def item(self, index: int) -> _Item:
        """Return the item of an index from 0 to ``len(self) - 1``."""
        ...

    @overload
    def __getitem__(self, index: int) -> _Item: ...

    @overload
    def __getitem__(self, index: slice) -> list[_Item]: ...

    def __getitem__(self, index: int | slice) -> _Item | list[_Item]:
        n = len(self)
        if isinstance(index, slice):
            return [self.item(i) for i in range(*index.indices(n))]
        if not -n <= index < n:
            raise IndexError(f"item {index} of {n}")
        return self.item(index % n)
