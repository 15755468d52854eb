"""Runs pictures that were read through a model: at once, or gathered with those of other requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import torch
from torch import Tensor

from lookalike.errors import ModelOutputError, UnsupportedMethodError
from lookalike.models.embedder import Embedder
from lookalike.types import Reading, Shares


class Runner(Protocol):
    """What a query asks of a model."""

    def shares(self, readings: Sequence[Reading]) -> list[Shares]:
        """The shares of each picture, as ``Embedder.shares``; raises as that."""
        ...

    def unit(self, reading: Reading) -> Tensor:
        """The unit embedding (D,) of one picture, as ``Embedder.embed_pixels``; raises as that."""
        ...


@final
class DirectRunner:
    """Runs them at once, in the thread that asks."""

    def __init__(self, embedder: Embedder) -> None:
        self._embedder = embedder

    def shares(self, readings: Sequence[Reading]) -> list[Shares]:
        """The shares of each picture; those of one size in one forward pass."""
        return batched_shares(self._embedder, readings)

    def unit(self, reading: Reading) -> Tensor:
        """The unit embedding (D,) of one picture."""
        return self._embedder.embed_pixels([reading.pixels], names=[reading.picture.name])[0]


@torch.inference_mode()
def batched_shares(embedder: Embedder, readings: Sequence[Reading]) -> list[Shares]:
    """The shares of several pictures; those that the network sees in one size take one forward pass.

    They are those of ``Embedder.shares`` to rounding. Raises as that, at the first picture that fails.
    """
    if len(readings) == 1 or len(embedder.scales) > 1:  # grids of several scales are merged image by image
        return [embedder.shares(reading) for reading in readings]
    by_size: dict[tuple[int, ...], list[int]] = {}
    for i, reading in enumerate(readings):
        by_size.setdefault(reading.pixels.shape, []).append(i)
    found: dict[int, Shares] = {}
    for rows in by_size.values():
        batch = torch.cat([embedder.pixel_tensor(readings[i].pixels) for i in rows])
        try:
            shares = embedder.network.shares(batch, model=embedder.name)
        except (ModelOutputError, UnsupportedMethodError):  # one by one, the message names the picture
            found.update((i, embedder.shares(readings[i])) for i in rows)
            continue
        for i, values in zip(rows, shares.values.float().cpu(), strict=True):
            own = values.clone()  # a view would hold the whole batch
            found[i] = Shares(own[:-1], own[-1], shares.grid, readings[i].geometry)
    return [found[i] for i in range(len(readings))]
