"""A thread-safe cache that evicts the least recently used values."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar, final

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


@final
class LRUCache(Generic[K, V]):
    """Cache of at most ``max_items`` values whose total ``size`` is at most ``max_size``.

    A single value larger than ``max_size`` is kept until the next one is put.
    """

    def __init__(
        self, max_items: int, *, max_size: int | None = None, size: Callable[[V], int] = lambda _: 0
    ) -> None:
        self._max_items, self._max_size, self._size = max_items, max_size, size
        self._values: OrderedDict[K, V] = OrderedDict()
        self._total = 0
        self._lock = threading.Lock()

    def get(self, key: K) -> V | None:
        """Return the value and mark it as used, or None if it is not cached."""
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: K, value: V) -> None:
        """Store a value, evicting the least recently used ones beyond the limits."""
        with self._lock:
            if key in self._values:
                self._total -= self._size(self._values.pop(key))
            self._values[key] = value
            self._total += self._size(value)
            while len(self._values) > self._max_items or self._is_too_large():
                self._total -= self._size(self._values.popitem(last=False)[1])

    def get_or_make(self, key: K, make: Callable[[], V]) -> V:
        """Return the cached value, or make and store it; two threads may both make it."""
        value = self.get(key)
        if value is None:
            value = make()
            self.put(key, value)
        return value

    def __len__(self) -> int:
        return len(self._values)

    def _is_too_large(self) -> bool:
        return self._max_size is not None and self._total > self._max_size and len(self._values) > 1
