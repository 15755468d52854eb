"""A batch in small parts, several at once, each on its share of the processor's cores.

The activations of a few images stay in the processor's caches, while those of many take fresh memory in every
layer; and passes beside each other wait for nothing, where the threads of one pass wait in every layer.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import TypeVar

import torch

_T = TypeVar("_T")
_R = TypeVar("_R")

_PART_PIXELS = 4 * 224 * 224  # of the images of one part; measured on networks from MobileNet to ResNet-50
_MOST_LANES = 8  # what Python itself does in a pass of a small network is done by one thread at a time
_starting = threading.Lock()


def parts_of(items: Sequence[_T], pixels: int) -> list[Sequence[_T]]:
    """The items, images of so many pixels each, in consecutive parts of nearly equal size."""
    most = max(1, _PART_PIXELS // pixels)
    lanes, n = n_lanes(), len(items)
    n_parts = -(-n // most)
    if n_parts > 1:
        n_parts = min(n, -(-n_parts // lanes) * lanes)  # so that all lanes end at the same time
    cuts = [i * n // n_parts for i in range(n_parts + 1)]
    return [items[start:end] for start, end in pairwise(cuts)]


def in_lanes(work: Callable[[_T], _R], parts: Sequence[_T]) -> list[_R]:
    """What ``work`` gives for each part, in order; raises its first error, once all parts are through.

    Up to eight parts run at once, on this thread's number of torch threads in all. Work of one part, or
    on one thread, runs in the calling thread.
    """
    lanes = n_lanes()
    if lanes == 1 or len(parts) == 1:
        return [work(part) for part in parts]
    running = [_lanes(lanes, torch.get_num_threads() // lanes).submit(work, part) for part in parts]
    errors = [error for each in running if (error := each.exception()) is not None]
    if errors:
        raise errors[0]
    return [each.result() for each in running]


def n_lanes() -> int:
    """Return how many parts run at once."""
    return min(torch.get_num_threads(), _MOST_LANES)


def _lanes(n: int, n_threads: int) -> ThreadPoolExecutor:
    with _starting:  # one of several callers starts them
        return _started(n, n_threads)


@cache
def _started(n: int, n_threads: int) -> ThreadPoolExecutor:
    """Threads that stay, each with so many torch threads."""
    here, ready = torch.get_num_threads(), threading.Barrier(n + 1)

    def start() -> None:
        torch.get_num_threads()  # else this thread's first parallel work takes the number of all
        torch.set_num_threads(n_threads)
        ready.wait()

    pool = ThreadPoolExecutor(n, "lane", start)
    for _ in range(n):
        pool.submit(int)
    ready.wait()
    torch.set_num_threads(here)  # torch also takes the last number that was set for threads to come
    return pool


if hasattr(os, "register_at_fork"):  # not on Windows; a forked process has none of the threads
    os.register_at_fork(after_in_child=_started.cache_clear)
