"""What is asked: an image, several, a part of one, a record of the gallery, or a vector."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from lookalike.gallery.query import Query, content_id
from lookalike.gallery.regions import Box, Polygon, ask_region
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.store import Record
from lookalike.types import FloatArray, Picture

__all__ = [
    "Box",
    "Polygon",
    "Query",
    "QuerySource",
    "ask_image",
    "ask_images",
    "ask_record",
    "ask_region",
    "ask_vector",
    "existing_file",
    "is_one_image",
]

QuerySource = ImageSource | Sequence[ImageSource] | NDArray[Any] | Tensor


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


def existing_file(record: Record) -> Path:
    """The first file of a record that is still there; its first if none is."""
    paths = [Path(file.path) for file in record.files]
    return next((path for path in paths if path.exists()), paths[0])


def is_one_image(source: object) -> bool:
    """Whether a query is one image rather than several or a vector."""
    return isinstance(source, str | Path | bytes | Image.Image | Picture)
