"""A long list of texts, such as the paths of a million files, in a fraction of the memory of a ``list``."""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import final

from lookalike.types.on_demand import OnDemand

_BLOCK = 1024  # texts compressed together
_FASTEST = 1  # level of zlib


@final
class PackedTexts(OnDemand[str]):
    """Texts in their order, compressed in blocks: about 10 bytes for the path of a file among others."""

    def __init__(self, texts: Iterable[str] = ()) -> None:
        self._blocks: list[bytes] = []
        self._starts: list[int] = []  # position of each block's first text
        self._count = 0
        self._read: tuple[int, list[str]] = (-1, [])  # the block that was read last
        remaining = iter(texts)
        while block := list(islice(remaining, _BLOCK)):
            self._blocks.append(zlib.compress(json.dumps(block).encode(), _FASTEST))
            self._starts.append(self._count)
            self._count += len(block)

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[str]:
        return chain.from_iterable(map(self._texts, range(len(self._blocks))))

    def item(self, index: int) -> str:
        """Return the text of an index from 0 to ``len(self) - 1``."""
        number = bisect_right(self._starts, index) - 1
        held = self._read
        if held[0] != number:
            self._read = held = (number, self._texts(number))
        return held[1][index - self._starts[number]]

    def _texts(self, number: int) -> list[str]:
        texts: list[str] = json.loads(zlib.decompress(self._blocks[number]))
        return texts
