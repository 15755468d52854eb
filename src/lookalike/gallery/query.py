"""A query: a unit vector, and the image that it comes from."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import final

from torch import Tensor

from lookalike import images
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.store import record_id
from lookalike.types import Shares


@final
class Query:
    """A unit vector, and the image that it comes from if it comes from one."""

    def __init__(
        self,
        unit: Tensor,
        *,
        source: ImageSource | None = None,
        embedder: Embedder | None = None,
        shares: Shares | None = None,
        is_region: bool = False,
        id: str | None = None,
    ) -> None:
        self.unit = unit  # (D,) float32
        self.source = source  # None: several images, or a bare vector
        self.is_region = is_region
        self.id = id  # that its own content has in a gallery; None where there is no content to hash
        self._embedder = embedder
        self._shares = shares

    @property
    def shares(self) -> Shares:
        """The query's shares; those of a region are weighted. ValueError without an image."""
        if self._shares is None:
            if self.source is None or self._embedder is None:
                raise ValueError("only the similarity with one image can be explained; ask with one image")
            self._shares = self._embedder.shares(self.source)
        return self._shares


def content_id(source: ImageSource) -> str | None:
    """The id that a file's content has in every gallery; None for pictures in memory."""
    if isinstance(source, str | Path):
        source = images.file_bytes(source)
    return record_id(hashlib.sha256(source).hexdigest()) if isinstance(source, bytes) else None
