"""Limits on requests: their bytes, pixels, time, and how many are worked on and kept."""

from __future__ import annotations

from dataclasses import dataclass

from lookalike.images import Limits


@dataclass(frozen=True)
class WebLimits:
    """Limits on requests; docs/security.md says what each is for.

    Larger uploads are rejected; uploads beyond ``max_queries`` or ``max_query_bytes`` evict the oldest.
    """

    max_upload_bytes: int = 32 * 2**20
    max_pixels: int = 50_000_000  # height * width of an upload
    max_side: int = 100_000  # longer side of an upload in pixels
    max_queries: int = 32  # number of uploads kept in memory
    max_query_bytes: int = 256 * 2**20  # total size of the uploads kept in memory
    max_json_bytes: int = 2**20  # of a request that is not an upload
    max_stored_bytes: int = 4 * 2**30  # total size of uploads that were added to galleries
    max_requests: int = 64  # worked on or waiting at once; more are told to come again
    max_uploads: int = 4  # received and decoded at once
    max_searches: int = 16  # searched, explained or reported at once
    max_pictures: int = 4  # of these, held in full resolution at once
    max_batch: int = 16  # pictures that share a forward pass
    gathering_seconds: float = 0.004  # that a forward pass waits for pictures that are being read
    body_seconds: float = 30.0  # for a request to arrive whole
    decoding_seconds: float = 10.0  # for an upload to be decoded
    waiting_seconds: float = 10.0  # for an upload's turn, and for that of a search

    @property
    def images(self) -> Limits:
        """Return the limits for reading an uploaded image."""
        return Limits(max_bytes=self.max_upload_bytes, max_pixels=self.max_pixels)
