"""Limits on what clients may upload."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.images import Limits


@dataclass(frozen=True)
class WebLimits:
    """Larger uploads are refused while they are read; further queries evict the oldest."""

    max_upload_bytes: int = 32 * 2**20
    max_pixels: int = 50_000_000  # height * width of an upload
    max_queries: int = 32  # uploads held in memory
    max_query_bytes: int = 256 * 2**20  # of all uploads held in memory

    @property
    def images(self) -> Limits:
        """The limits for decoding an image."""
        return Limits(max_bytes=self.max_upload_bytes, max_pixels=self.max_pixels)
