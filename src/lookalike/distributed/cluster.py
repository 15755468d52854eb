"""The connection to a Ray cluster: one that runs, or one of this machine's cores (extra ``scale``)."""

from __future__ import annotations

import importlib
import logging
import os
import warnings
from types import TracebackType
from typing import Any, final

from lookalike.errors import GalleryError
from lookalike.types.machine import usable_cores

ENGINES = ("local", "ray")  # where work is done
_OWN = "local"  # a new cluster, also where this machine belongs to one that runs


@final
class RayCluster:
    """A context manager: connected inside the block; what was connected before stays so.

    ``address`` is that of a cluster, ``auto`` for the one that this machine belongs to, or None for a new
    one on this machine. ``workers`` is how many workers to start; by default one for each core of the
    cluster. Raises GalleryError without the extra ``scale``, or if no cluster answers.
    """

    def __init__(self, address: str | None = None, workers: int | None = None) -> None:
        if workers is not None and workers < 1:
            raise ValueError(f"workers is 1 or more on Ray, got {workers}")
        self._address, self._wanted = address, workers
        self._is_ours = False
        self.ray: Any = None

    def __enter__(self) -> RayCluster:
        self.ray = _ray()
        if not self.ray.is_initialized():
            self._connect()
            self._is_ours = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_ours:
            self.ray.shutdown()

    @property
    def workers(self) -> int:
        """How many workers to start, 1 or more."""
        return self._wanted or max(1, int(self.ray.cluster_resources().get("CPU", 0)))

    def _connect(self) -> None:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if self._address is None:
            cores = max(self._wanted or 0, usable_cores())
            options |= {"num_cpus": cores, "include_dashboard": False}
        try:
            with warnings.catch_warnings():
                # LanceDB warns of any fork; those of Ray replace themselves by another program at once.
                warnings.filterwarnings("ignore", message="lancedb fork support", category=RuntimeWarning)
                self.ray.init(self._address or _OWN, **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            if self._address is None:
                reason = (str(error).splitlines() or ["it gave no reason"])[0]
                raise GalleryError(
                    f"Ray did not start on this machine: {reason}; leave the engine out to index without it"
                ) from error
            raise GalleryError(
                f"no Ray cluster answers at {self._address!r}; start one with 'ray start "
                "--head', or leave the address out to use this machine's cores"
            ) from error


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise GalleryError(
            "the engine ray needs the extra scale: pip install 'lookalike[scale]'; or leave the engine out"
        ) from error
