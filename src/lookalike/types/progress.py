"""Progress of long-running work: one record and one callback type for all of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Progress:
    """State of long-running work; the argument of every ``progress=`` callback."""

    stage: str  # the current stage: "indexing", "embedding", "epoch 3"
    done: int  # files, images or steps
    total: int
    rate: float  # per second; 0 while unknown
    remaining: float | None  # seconds; None while unknown
    values: Mapping[str, float] = field(default_factory=dict)  # latest measurements: loss, metrics


ProgressCallback = Callable[[Progress], None]


def tracked(items: Iterable[T], stage: str, total: int, progress: ProgressCallback | None) -> Iterator[T]:
    """Yield the items, calling ``progress`` before the first and after each of ``total``."""
    start = time.monotonic()
    if progress is not None:
        progress(Progress(stage, 0, total, 0.0, None))
    for done, item in enumerate(items, start=1):
        yield item
        if progress is not None:
            rate = done / max(time.monotonic() - start, 1e-6)
            progress(Progress(stage, done, total, rate, (total - done) / rate))
