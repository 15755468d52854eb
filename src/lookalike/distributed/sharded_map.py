"""One function over many parts of a list in a pool of Ray actors that may die at any time.

Each actor takes one whole core, holds one model, and has one shard at a time. An actor that could not be
placed yet gets no work, so nothing waits for it.
"""

from __future__ import annotations

import heapq
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from lookalike.distributed.cluster import RayCluster
from lookalike.distributed.shard_folder import ShardFolder
from lookalike.errors import GalleryError, LookalikeError

Work = Callable[[Sequence[Any], bool], Any]  # items, and whether an item may have killed a worker before
_STARTING = -1  # in place of a shard's index: a worker that is not ready yet
_MOST_LOSSES = 4  # of one shard, with the worker that had it
_PATIENCE = 60.0  # seconds without any worker until a warning

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, order=True)
class Shard:
    """A part of a long list of items, by its place in it."""

    index: int
    name: str  # of the file with its rows
    items: tuple[Any, ...]
    is_done: bool = False  # by an earlier run: its file is there


def sharded_map(
    cluster: RayCluster, shards: Iterable[Shard], make_work: Callable[[], Work], folder: ShardFolder
) -> Iterator[Shard]:
    """Yield the shards in their order, each when its rows, a ``pyarrow.Table``, are in the folder.

    ``make_work`` is called once in each worker. A shard whose worker is lost is given to another one.
    Raises GalleryError for a shard that loses every worker.
    """
    for shard, _ in _in_order(cluster, shards, make_work, folder):
        yield shard


def ordered_map(
    cluster: RayCluster, items: Sequence[Any], make_work: Callable[[], Work], n_items: int
) -> Iterator[Any]:
    """Yield what the function makes of each ``n_items`` of a list, in order; otherwise as ``sharded_map``."""
    starts = range(0, len(items), n_items)
    shards = (
        Shard(i, f"from item {start}", tuple(items[start : start + n_items]))
        for i, start in enumerate(starts)
    )
    for _, result in _in_order(cluster, shards, make_work, None):
        yield result


def _in_order(
    cluster: RayCluster, shards: Iterable[Shard], make_work: Callable[[], Work], folder: ShardFolder | None
) -> Iterator[tuple[Shard, Any]]:
    pool = _Pool(cluster, make_work, folder)
    finished: dict[int, tuple[Shard, Any]] = {}
    try:
        expected = 0
        for shard, result in pool.run(shards):
            finished[shard.index] = shard, result
            while expected in finished:
                yield finished.pop(expected)
                expected += 1
    finally:
        pool.close()


class _Worker:
    """What runs in each actor; with a folder, results are written to it, else returned."""

    def __init__(self, make_work: Callable[[], Work], folder: ShardFolder | None) -> None:
        torch.set_num_threads(1)
        self._work, self._folder = make_work(), folder

    def ready(self) -> int:
        return os.getpid()

    def process(self, shard: Shard, is_suspect: bool) -> Any:
        result = self._work(shard.items, is_suspect)
        if self._folder is None:
            return result
        self._folder.write(shard.name, result)
        return None


@final
class _Pool:
    def __init__(
        self, cluster: RayCluster, make_work: Callable[[], Work], folder: ShardFolder | None
    ) -> None:
        self._ray = cluster.ray
        self._make_work = self._ray.put(make_work)
        self._folder = folder
        self._actor_class = self._ray.remote(num_cpus=1, max_restarts=0, max_task_retries=0)(_Worker)
        self._busy: dict[Any, tuple[Any, Shard | None]] = {}  # what is awaited -> its actor and shard
        self._idle: list[Any] = []
        self._again: list[Shard] = []  # a heap of shards that lost their worker
        self._losses: Counter[int] = Counter()
        for _ in range(cluster.workers):
            self._start_worker()

    def run(self, shards: Iterable[Shard]) -> Iterator[tuple[Shard, Any]]:
        """Yield shards as they are finished, in any order, with what the function returned."""
        remaining = iter(shards)
        is_open = True
        while is_open or self._again or any(shard is not None for _, shard in self._busy.values()):
            while is_open and (self._idle or not self._busy) and not self._again:
                shard = next(remaining, None)
                if shard is None:
                    is_open = False
                elif shard.is_done:
                    yield shard, None
                else:
                    heapq.heappush(self._again, shard)
            while self._again and self._idle:
                self._give(self._idle.pop(), heapq.heappop(self._again))
            if self._busy:
                yield from self._finished()

    def _finished(self) -> Iterator[tuple[Shard, Any]]:
        done, _ = self._ray.wait(list(self._busy), num_returns=1, timeout=_PATIENCE)
        if not done and not any(shard for _, shard in self._busy.values()):
            _logger.warning("no Ray worker has started in %d seconds; waiting for free cores", _PATIENCE)
        for awaited in done:
            actor, shard = self._busy.pop(awaited)
            try:
                result = self._ray.get(awaited)
            except self._ray.exceptions.RayTaskError as error:
                raise (
                    error.cause if isinstance(error.cause, LookalikeError) else error.as_instanceof_cause()
                ) from None
            except self._ray.exceptions.RayError as error:
                self._lost(shard, error)
                continue
            self._idle.append(actor)
            if shard is None:
                self._losses[_STARTING] = 0
            else:
                yield shard, result

    def _lost(self, shard: Shard | None, error: Exception) -> None:
        """Give the shard of a lost worker to another one, and start a worker in its place."""
        index = _STARTING if shard is None else shard.index
        self._losses[index] += 1
        if self._losses[index] > _MOST_LOSSES:
            what = "start" if shard is None else f"process shard {shard.name} of {len(shard.items)} items"
            raise GalleryError(
                f"{self._losses[index]} Ray workers were lost as they were to {what}: {_first_line(error)}; "
                "look at the memory of the machines, and run it again: what is done is kept"
            ) from error
        if shard is not None:
            heapq.heappush(self._again, shard)
        self._start_worker()

    def _give(self, actor: Any, shard: Shard) -> None:
        self._busy[actor.process.remote(shard, self._losses[shard.index] > 0)] = (actor, shard)

    def _start_worker(self) -> None:
        actor = self._actor_class.remote(self._make_work, self._folder)
        self._busy[actor.ready.remote()] = (actor, None)

    def close(self) -> None:
        """End the actors."""
        for actor in [*self._idle, *(actor for actor, _ in self._busy.values())]:
            self._ray.kill(actor)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
