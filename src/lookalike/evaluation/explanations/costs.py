"""Measures of cost: time in forward passes of the model and in milliseconds, and memory."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from lookalike.evaluation.explanations.cases import ExplainedPair

_REPEATS = 3
_SLOW = 1.0  # seconds; a method that takes longer is timed once
_N_HITS = 100
_STATM = Path("/proc/self/statm")
_INTERVAL = 0.002  # seconds between two looks at the memory


def cost_values(explained: ExplainedPair, measures: Collection[str]) -> dict[str, float | None]:
    """Cost of one explanation and of those of 100 hits; forward passes timed in turn with them.

    A method without a batched way pays 100 times for 100 hits. Memory is the largest growth of the
    process during one explanation, None where the system does not tell.
    """
    explain = explained.bound.explain
    assert explain is not None
    query, match = (side.reading for side in explained.case.sides)
    values: dict[str, float | None] = {}
    if {"cost-pair", "cost-pair-ms", "cost-100"} & set(measures):
        passes, pairs = _in_turn(
            lambda: explained.case.subject.units([query.pixels]), lambda: explain(query, match)
        )
        values |= {
            "cost-pair": pairs / passes,
            "cost-pair-ms": 1000 * pairs,
            "cost-100": _N_HITS * pairs / passes,
        }
        of_hits = explained.bound.of_hits
        if of_hits is not None and "cost-100" in measures:
            hits = _hits(explained)  # (100, D), which a gallery keeps
            passes, batch = _in_turn(
                lambda: explained.case.subject.units([query.pixels]), lambda: of_hits(query, hits)
            )
            values["cost-100"] = batch / passes
    if "memory-mb" in measures:
        values["memory-mb"] = _memory(lambda: explain(query, match))
    return values


def _hits(explained: ExplainedPair) -> Tensor:
    """Unit embeddings of 100 hits, (100, D) float32: the run's images in turn."""
    units = explained.case.roster.units
    return units[torch.arange(_N_HITS) % len(units)].float()


def _in_turn(first: Callable[[], object], second: Callable[[], object]) -> tuple[float, float]:
    """Median seconds of two functions, called alternately; of the second once where it is slow."""
    firsts: list[float] = []
    seconds: list[float] = []
    for _ in range(_REPEATS):
        firsts.append(_seconds(first))
        if not seconds or seconds[0] < _SLOW:
            seconds.append(_seconds(second))
    return statistics.median(firsts), statistics.median(seconds)


def _seconds(function: Callable[[], object]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def _memory(function: Callable[[], object]) -> float | None:
    """Largest growth of the resident memory during a call, in MB."""
    if not _STATM.exists():
        return None
    before = _resident()
    with _watched() as seen:
        function()
    return max(0.0, max([*seen, _resident()]) - before)


@contextmanager
def _watched() -> Iterator[list[float]]:
    seen: list[float] = []
    done = threading.Event()

    def watch() -> None:
        while not done.wait(_INTERVAL):
            seen.append(_resident())

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


def _resident() -> float:
    pages = int(_STATM.read_text().split()[1])
    return float(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)
