"""What is asked: an image, several, a part of one, a record of the gallery, or a vector."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.embedder import Embedder, ImageSource
from lookalike.ops.attribution import region_embedding
from lookalike.store import Record, record_id
from lookalike.types import FloatArray, Picture, Shares

Box = tuple[float, float, float, float]  # left, top, right, bottom in original pixels
Polygon = Sequence[tuple[float, float]]  # (x, y) in original pixels
QuerySource = ImageSource | Sequence[ImageSource] | NDArray[Any] | Tensor


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


def ask_image(source: ImageSource, embedder: Embedder, *, explained: bool = False) -> Query:
    """A whole image; where it will be explained its one forward pass keeps the shares."""
    if explained:
        shares = embedder.shares(source)
        unit = F.normalize(shares.total, dim=0)
        return Query(unit, source=source, embedder=embedder, shares=shares, id=content_id(source))
    return Query(embedder.embed([source])[0], source=source, embedder=embedder, id=content_id(source))


def ask_images(sources: Sequence[ImageSource], embedder: Embedder) -> Query:
    """Several images as one query: the direction of the mean of their unit embeddings."""
    if len(sources) == 1:
        return ask_image(sources[0], embedder)
    return Query(F.normalize(embedder.embed(sources).mean(0), dim=0))


def ask_region(
    source: ImageSource, embedder: Embedder, *, box: Box | None = None, polygon: Polygon | None = None
) -> Query:
    """A part of an image: what its places contribute, weighted by how much of each lies inside.

    Raises ValueError for a region that lies outside the image, or outside what the model sees of it.
    """
    shares = embedder.shares(source)
    if polygon is not None:
        mask = _polygon_mask(polygon, shares.geometry.original_size)
        coverage = shares.geometry.coverage_of(mask, shares.grid)
    else:
        assert box is not None
        coverage = shares.geometry.coverage(_checked(box, shares.geometry.original_size), shares.grid)
    weights = torch.from_numpy(coverage).flatten()  # (N,)
    if not weights.any():
        raise ValueError(
            "the region lies outside what the model sees of the image (it cuts the borders); "
            "choose one nearer the centre"
        )
    inside = Shares(
        shares.values * weights[:, None], torch.zeros_like(shares.residual), shares.grid, shares.geometry
    )
    unit: Tensor = region_embedding(shares.values, weights)
    return Query(unit, source=source, shares=inside, is_region=True, id=content_id(source))


def ask_record(record: Record, embedding: FloatArray, embedder: Embedder) -> Query:
    """A record of the gallery, by its stored embedding; its file is read only to explain."""
    source = existing_file(record)
    return Query(torch.from_numpy(embedding), source=source, embedder=embedder, id=record.id)


def ask_vector(vector: NDArray[Any] | Tensor, width: int) -> Query:
    """A vector of the gallery's width, brought to unit length. Raises ValueError for any other."""
    values = torch.from_numpy(np.asarray(vector, dtype=np.float32).copy())
    if values.shape != (width,):
        raise ValueError(f"a query vector has shape ({width},) in this gallery, got {tuple(values.shape)}")
    if not (values.isfinite().all() and values.any()):
        raise ValueError("a query vector is finite and not zero")
    return Query(F.normalize(values, dim=0))


def content_id(source: ImageSource) -> str | None:
    """The id that a file's content has in every gallery; None for pictures in memory."""
    if isinstance(source, str | Path):
        source = images.file_bytes(source)
    return record_id(hashlib.sha256(source).hexdigest()) if isinstance(source, bytes) else None


def existing_file(record: Record) -> Path:
    """The first file of a record that is still there; its first if none is."""
    paths = [Path(file.path) for file in record.files]
    return next((path for path in paths if path.exists()), paths[0])


def is_one_image(source: object) -> bool:
    """Whether a query is one image rather than several or a vector."""
    return isinstance(source, str | Path | bytes | Image.Image | Picture)


def _checked(box: Box, size: tuple[int, int]) -> Box:
    left, top, right, bottom = box
    height, width = size
    if not (left < right and top < bottom and left < width and top < height and right > 0 and bottom > 0):
        raise ValueError(
            f"a box is left, top, right, bottom in pixels, left < right and top < bottom, "
            f"inside the {width} x {height} pixels of the image; got {tuple(box)}"
        )
    return box


def _polygon_mask(polygon: Polygon, size: tuple[int, int]) -> NDArray[np.bool_]:
    if len(polygon) < 3:
        raise ValueError(f"a polygon has three corners or more, got {len(polygon)}")
    canvas = Image.new("1", (size[1], size[0]))
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in polygon], fill=1)
    return np.array(canvas, dtype=np.bool_)
