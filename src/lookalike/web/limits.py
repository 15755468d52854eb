"""Limits on uploads: their size, their pixels and how many are kept."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.images import Limits


@dataclass(frozen=True)
class WebLimits:
    """Limits on uploads.

    Larger uploads are rejected; uploads beyond ``max_queries`` or ``max_query_bytes`` evict the oldest.
    """

    max_upload_bytes: int = 32 * 2**20
    max_pixels: int = 50_000_000  # height * width of an upload
    max_queries: int = 32  # number of uploads kept in memory
    max_query_bytes: int = 256 * 2**20  # total size of the uploads kept in memory

    @property
    def images(self) -> Limits:
        """Return the limits for reading an uploaded image."""
        return Limits(max_bytes=self.max_upload_bytes, max_pixels=self.max_pixels)
