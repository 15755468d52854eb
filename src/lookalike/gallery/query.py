"""What a search asks for: a unit vector, and the image, region or record that it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeGuard, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from lookalike import images
from lookalike.errors import UnsupportedMethodError
from lookalike.gallery.regions import Region, region_shares
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.store import Record, record_id
from lookalike.types import FloatArray, Picture, Reading, Shares

QuerySource = ImageSource | Sequence[ImageSource]  # arrays of one axis are vectors (D,)

_DRAWN_SIZE = (750, 750)  # pixels that a JPEG keeps at least where it is decoded to be drawn on


@final
class Query:
    """A unit vector, and the image that it comes from if it comes from one.

    The image is decoded once, and where the model's embedding is a sum of shares one forward pass
    gives both.
    """

    def __init__(
        self,
        unit: Tensor,
        *,
        embedder: Embedder | None = None,
        reading: Reading | None = None,
        file: Path | None = None,
        shares: Shares | None = None,
        region: Region | None = None,
        id: str | None = None,
    ) -> None:
        self.unit = unit  # (D,) float32, unit length
        self.region = region  # None: the whole image
        self.id = id  # that its own content has in a gallery; None where there is no content to hash
        self._embedder = embedder
        self._reading, self._file = reading, file
        self._shares = shares

    @property
    def reading(self) -> Reading:
        """The image, decoded once. Raises ValueError for several images and for a vector."""
        if self._reading is None:
            if self._file is None or self._embedder is None:
                raise ValueError("only the similarity with one image can be explained; ask with one image")
            self._reading = read_to_draw(self._file, self._embedder)
        return self._reading

    @property
    def shares(self) -> Shares:
        """The query's shares; those of a region are weighted. Raises as ``reading``."""
        if self._shares is None:
            reading = self.reading
            assert self._embedder is not None
            self._shares = self._embedder.shares(reading)
        return self._shares

    def reduce_picture(self, side: int) -> None:
        """Keep a picture of at most ``side`` pixels to draw on; the network's pixels stay as they are."""
        reading = self.reading
        small = reading.picture.image.copy()
        small.thumbnail((side, side), reducing_gap=2.0)
        self._reading = replace(reading, picture=replace(reading.picture, image=small))

    def check_explainable(self) -> None:
        """Raise ValueError for a query that is no image, UnsupportedMethodError without shares."""
        self.shares  # noqa: B018


def image_query(
    source: ImageSource, embedder: Embedder, region: Region | None = None, *, name: str | None = None
) -> Query:
    """A whole image or a region of one, as a query; ``name`` replaces the file's.

    Raises UnreadableImageError, and ValueError for a region that is empty or outside the image.
    """
    if region is not None:
        picture, id = _load(source, name, at_least=None)  # a small region needs every pixel
        reading = embedder.read(picture)
        shares = region_shares(reading, region, embedder)
        unit = F.normalize(shares.total, dim=0)
        return Query(unit, embedder=embedder, reading=reading, shares=shares, region=region, id=id)
    picture, id = _load(source, name, at_least=_DRAWN_SIZE)
    reading = embedder.read(picture)
    unit, whole_shares = _seen(reading, embedder)
    return Query(unit, embedder=embedder, reading=reading, shares=whole_shares, id=id)


def images_query(sources: Sequence[ImageSource], embedder: Embedder) -> Query:
    """Several images as one query: the direction of the mean of their unit embeddings."""
    if len(sources) == 1:
        return image_query(sources[0], embedder)
    return Query(F.normalize(embedder.embed(sources).mean(0), dim=0))


def record_query(record: Record, embedding: FloatArray, embedder: Embedder) -> Query:
    """A record of the gallery, by its stored embedding; its file is read only to explain."""
    return Query(torch.from_numpy(embedding), embedder=embedder, file=existing_file(record), id=record.id)


def vector_query(vector: NDArray[Any] | Tensor, width: int) -> Query:
    """A vector (D,) of the gallery's width, scaled to unit length. Raises ValueError for any other."""
    values = torch.from_numpy(np.asarray(vector, dtype=np.float32).copy())
    if values.shape != (width,):
        raise ValueError(f"a query vector has shape ({width},) in this gallery, got {tuple(values.shape)}")
    if not (values.isfinite().all() and values.any()):
        raise ValueError("a query vector is finite and not zero")
    return Query(F.normalize(values, dim=0))


def read_to_draw(source: ImageSource, embedder: Embedder) -> Reading:
    """An image decoded once, at a scale that is fit to draw on, and prepared for the model."""
    return embedder.read(images.load(source, at_least=_DRAWN_SIZE))


def existing_file(record: Record) -> Path:
    """The first file of a record that is still there; its first if none is."""
    paths = [Path(file.path) for file in record.files]
    return next((path for path in paths if path.exists()), paths[0])


def is_vector(source: object) -> TypeGuard[NDArray[Any] | Tensor]:
    """Whether a query is a vector (D,) rather than images; arrays of more axes are images."""
    return isinstance(source, np.ndarray | Tensor) and source.ndim == 1


def _load(
    source: ImageSource, name: str | None, *, at_least: tuple[int, int] | None
) -> tuple[Picture, str | None]:
    """The picture, and the id that its content has in every gallery (None for pictures in memory)."""
    if isinstance(source, str | Path):
        path, data = Path(source), images.file_bytes(source)
        picture = replace(images.load(data, at_least=at_least, name=str(path)), name=name or path.name)
        return picture, _content_id(data)
    id = _content_id(source) if isinstance(source, bytes) else None
    return images.load(source, at_least=at_least, name=name), id


def _content_id(data: bytes) -> str:
    return record_id(hashlib.sha256(data).hexdigest())


def _seen(reading: Reading, embedder: Embedder) -> tuple[Tensor, Shares | None]:
    """The unit embedding, and the shares where the same forward pass gives both."""
    if embedder.precision == "fp32":
        try:
            shares = embedder.shares(reading)
            return F.normalize(shares.total, dim=0), shares
        except UnsupportedMethodError:
            pass  # the model embeds and does not explain
    return embedder.embed_pixels([reading.pixels])[0], None
