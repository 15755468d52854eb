"""Decoded files to embeddings: one batch through the model, in this process or on another machine."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, final

import numpy as np
import torch

from lookalike.errors import ModelOutputError
from lookalike.gallery.packing import pack_shares
from lookalike.images import DecodedFile
from lookalike.models.embedder import Embedder
from lookalike.models.lanes import n_lanes
from lookalike.models.runtimes import CheckedRuntime
from lookalike.types import FloatArray


@dataclass(frozen=True)
class EmbeddedFile:
    """A file and what the model made of it."""

    file: DecodedFile  # without its pixels
    embedding: FloatArray  # (D,) float32
    shares: bytes | None  # packed; None if the gallery keeps none


@dataclass(frozen=True)
class NotEmbedded:
    """A file that was decoded, and that the model has no finite output for."""

    file: DecodedFile  # without its pixels
    reason: str  # the model's error


@final
class ModelThreads:
    """``embed_files`` behind the caller: decoding and commits go on while the model has a batch.

    On several cores the parts of two batches take turns, so that no core waits for the last part of one.
    """

    def __init__(self, embedder: Embedder, *, keep_shares: bool, runtime: CheckedRuntime | None) -> None:
        self._embed = partial(embed_files, embedder=embedder, keep_shares=keep_shares, runtime=runtime)
        in_parts = embedder.device.type == "cpu" and n_lanes() > 1 and not keep_shares and runtime is None
        self._most = 2 if in_parts else 1  # batches at once
        self._threads = ThreadPoolExecutor(self._most, "model")
        self._running: deque[tuple[Sequence[DecodedFile], Future[list[EmbeddedFile | NotEmbedded]]]] = deque()

    @property
    def files(self) -> list[DecodedFile]:
        """What the model has."""
        return [file for batch, _ in self._running for file in batch]

    def embed(self, batch: Sequence[DecodedFile]) -> list[EmbeddedFile | NotEmbedded]:
        """Begin with a batch, and return what became of the first, once there are more than can run at once.

        Without a batch the first is waited for. Raises as ``embed_files``.
        """
        if batch:
            self._running.append((batch, self._threads.submit(self._embed, batch)))
        if not self._running or (batch and len(self._running) <= self._most):
            return []
        _, first = self._running.popleft()
        return first.result()

    def forget(self) -> None:
        """Leave out what the model has."""
        self._running.clear()


def embed_files(
    batch: Sequence[DecodedFile],
    embedder: Embedder,
    *,
    keep_shares: bool,
    runtime: CheckedRuntime | None = None,
) -> list[EmbeddedFile | NotEmbedded]:
    """Embed decoded files in one forward pass; one by one if the model fails for the batch.

    With a ``runtime``, that embeds them; without shares.
    """
    if not batch:
        return []
    try:
        return list(_embedded(batch, embedder, keep_shares, runtime))
    except ModelOutputError:
        return [_embedded_or_not(found, embedder, keep_shares, runtime) for found in batch]


def _embedded_or_not(
    found: DecodedFile, embedder: Embedder, keep_shares: bool, runtime: CheckedRuntime | None
) -> EmbeddedFile | NotEmbedded:
    try:
        return _embedded([found], embedder, keep_shares, runtime)[0]
    except ModelOutputError as error:
        return NotEmbedded(replace(found, pixels=None), str(error))


def _embedded(
    batch: Sequence[DecodedFile], embedder: Embedder, keep_shares: bool, runtime: CheckedRuntime | None
) -> list[EmbeddedFile]:
    if keep_shares:
        return [_with_shares(found, embedder) for found in batch]
    pixels, names = [_pixels(found) for found in batch], [found.path for found in batch]
    embeddings = (runtime or embedder).embed_pixels(pixels, names=names).numpy()  # (B, D)
    return [
        EmbeddedFile(replace(found, pixels=None), embedding, None)
        for found, embedding in zip(batch, embeddings, strict=True)
    ]


def _with_shares(found: DecodedFile, embedder: Embedder) -> EmbeddedFile:
    assert found.geometry is not None
    shares = embedder.pixel_shares(_pixels(found), found.geometry, name=found.path)
    unit = torch.nn.functional.normalize(shares.total, dim=0).numpy()
    return EmbeddedFile(replace(found, pixels=None), unit, pack_shares(shares))


def _pixels(found: DecodedFile) -> np.ndarray[Any, np.dtype[np.uint8]]:
    assert found.pixels is not None
    return found.pixels
