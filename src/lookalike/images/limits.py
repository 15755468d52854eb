"""Limits on the files that are read, for this process and the workers that it starts."""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image


@dataclass(frozen=True)
class Limits:
    """Limits on a file's size. Larger files are refused before they are decoded."""

    max_bytes: int = 256 * 2**20  # size of the file; it is held in memory while it is decoded
    max_pixels: int = 120_000_000  # height * width; decoding takes 4 to 12 bytes for each

    def __post_init__(self) -> None:
        for name, value in (("max_bytes", self.max_bytes), ("max_pixels", self.max_pixels)):
            if value < 1:
                raise ValueError(f"{name} is 1 or more; got {value}")


_limits = Limits()


def default_limits() -> Limits:
    """The limits where none are given: those of ``set_limits``, or 256 MiB and 120 million pixels."""
    return _limits


def set_limits(limits: Limits) -> None:
    """Set the limits of everything that this process and its workers read from now on.

    Pillow's own ceiling, 2 * ``PIL.Image.MAX_IMAGE_PIXELS``, is raised with them where it is lower.
    """
    global _limits
    _limits = limits
    if Image.MAX_IMAGE_PIXELS is not None:
        Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, limits.max_pixels // 2 + 1)
