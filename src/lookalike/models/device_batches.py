"""Batches on a device: as many images at once as its memory takes, copied to it beside its work."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from lookalike.errors import DeviceMemoryError
from lookalike.images import Preprocessing, normalization_table

_FIRST = 32  # images in one pass, before it is known what a pass takes
_MOST = 256
_SHARE = 0.8  # of the free memory that a batch may take; the rest is for what other passes need
_WORDS = ("out of memory", "can't allocate memory", "ALLOC_FAILED")  # torch, its processor, CUDA's libraries

_logger = logging.getLogger(__name__)


@final
class DeviceBatches:
    """Runs images in batches of ``most`` images, found by the memory of the device.

    A batch for which the memory does not suffice is run in halves, and later ones are as small. On CUDA the
    first full batch tells how many images fit.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.most = _FIRST
        self._is_found = device.type != "cuda"  # others don't tell what memory a pass took

    def run(self, work: Callable[[NDArray[np.uint8]], Tensor], pixels: NDArray[np.uint8]) -> Tensor:
        """What ``work`` gives for pixels (B, H, W, 3), a row for each image.

        Raises DeviceMemoryError where the memory does not suffice for one image.
        """
        rows: list[Tensor] = []
        start = 0
        while start < len(pixels):
            some = pixels[start : start + self.most]
            with memory_in_words(self.device, some.shape[1:3]) if len(some) == 1 else nullcontext():
                found = _tried(work, some)
            if found is None:
                self._take_fewer(len(some))
                continue
            rows.append(found)
            start += len(some)
            if not self._is_found and len(some) == self.most:
                self._take_more()
        return rows[0] if len(rows) == 1 else torch.cat(rows)

    def _take_fewer(self, n: int) -> None:
        if self.device.type == "cuda":
            torch.cuda.empty_cache()
        self._is_found = True
        self.most = min(self.most, n // 2)
        _logger.info("memory of %s: batches of %d images from here on", self.device, self.most)

    def _take_more(self) -> None:
        """By the peak of what was run so far."""
        self._is_found = True
        reserved, peak = torch.cuda.memory_reserved(self.device), torch.cuda.max_memory_allocated(self.device)
        held = torch.cuda.memory_allocated(self.device)
        free = torch.cuda.mem_get_info(self.device)[0] + reserved - held
        self.most = images_that_fit(self.most, peak - held, free)


def images_that_fit(n: int, taken: int, free: int) -> int:
    """How many images fit into ``free`` bytes where a pass of ``n`` took so many; no fewer than ``n``."""
    fit = int(_SHARE * free * n / max(taken, 1))
    return max(n, min(fit, _MOST) // n * n)


def to_device(pixels: NDArray[np.uint8], preprocessing: Preprocessing, device: torch.device) -> Tensor:
    """Pixels (B, H, W, 3) normalized on a device: (B, 3, H, W), bit for bit as ``images.normalize``.

    The bytes are copied, a quarter of the floats; on CUDA from pinned memory, while the device computes.
    """
    levels = _copied(torch.from_numpy(pixels), device)
    table = torch.from_numpy(normalization_table(preprocessing)).to(device)  # (256, 3)
    channels = [table[:, c].take(levels[..., c].long()) for c in range(3)]
    return torch.stack(channels, dim=1)


def _copied(pixels: Tensor, device: torch.device) -> Tensor:
    if device.type != "cuda":
        return pixels.to(device)
    copying, computing = _copying_stream(device), torch.cuda.current_stream(device)
    with torch.cuda.stream(copying):
        moved = pixels.pin_memory().to(device, non_blocking=True)
    computing.wait_stream(copying)
    moved.record_stream(computing)  # its memory is not given away before it is read
    return moved


@cache
def _copying_stream(device: torch.device) -> Any:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]


@contextmanager
def memory_in_words(device: torch.device, size: Sequence[int]) -> Iterator[None]:
    """Turn a lack of memory for one image of a size (H, W) into DeviceMemoryError."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _lacks_memory(error):
            raise
        reason = str(error).strip().partition("\n")[0].partition(". ")[0] or "out of memory"
        raise DeviceMemoryError(
            f"the memory of {device} does not suffice for one image of {size[0]} x {size[1]} pixels "
            f"({reason}); end other programs there, or take a smaller model or input size, precision bf16, "
            "or another device"
        ) from error


def _tried(work: Callable[[NDArray[np.uint8]], Tensor], some: NDArray[np.uint8]) -> Tensor | None:
    """What the work gives; None where memory is lacking for several images.

    The error is not kept: its frames hold the memory that is to be freed.
    """
    try:
        return work(some)
    except (RuntimeError, MemoryError) as error:
        if len(some) == 1 or not _lacks_memory(error):
            raise
        return None


def _lacks_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or any(words in str(error) for words in _WORDS)
