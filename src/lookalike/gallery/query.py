"""Queries of a gallery search: a unit vector, and the image, region or record that it comes from."""

from __future__ import annotations

import copy
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
from lookalike.errors import UnreadableImageError, UnsupportedMethodError
from lookalike.explainers.words import Asked, asked_text
from lookalike.gallery.examples import Examples, ExamplesPass
from lookalike.gallery.regions import Region, region_shares
from lookalike.images import is_one_image
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.models.last_pass import LastPass
from lookalike.models.passes import SharesPass
from lookalike.models.runner import DirectRunner, Runner
from lookalike.ops.similarity import unit_rows
from lookalike.store import Copy, Record, VectorStore, record_id
from lookalike.types import FloatArray, Picture, Reading, Shares

QuerySource = ImageSource | Sequence[ImageSource]  # arrays of one axis are vectors (D,)

_DRAWN_SIZE = (750, 750)  # (height, width) in pixels that a reduced JPEG keeps at least, to be drawn on


@final
class Query:
    """A query's unit vector, and the image that it comes from, if any.

    The image is decoded once. If the model's embedding is a sum of shares, one forward pass computes
    both.
    """

    def __init__(
        self,
        unit: Tensor,
        *,
        embedder: Embedder | None = None,
        reading: Reading | None = None,
        record: Record | None = None,
        shares: Shares | None = None,
        region: Region | None = None,
        id: str | None = None,
        source: ImageSource | None = None,
        text: str | None = None,
        asked: Asked | None = None,
        runner: Runner | None = None,
    ) -> None:
        self.unit = unit  # (D,) float32, unit length
        self.region = region  # None: the whole image
        self.id = id  # record id of the same content; None for an image in memory and for a vector
        self.examples: Examples | None = None  # added to the unit vector
        self._embedder = embedder
        self._reading, self._record = reading, record
        self._source = source  # of an image that was embedded with others and not kept
        self._shares = shares
        self._runner = runner  # of the model, for shares; None: at once
        self._text, self._asked = text, asked  # of words, and of several images and texts

    def __repr__(self) -> str:
        if self.in_words:
            return f"Query({self.name!r}, width {len(self.unit)})"
        is_image = self._reading or self._record or self._source is not None
        what = "a region" if self.region else "an image" if is_image else "a vector"
        return f"Query({what}, width {len(self.unit)})"

    @property
    def is_one_image(self) -> bool:
        """Whether the query is one image or a region of it, neither several images nor a vector."""
        return any(each is not None for each in (self._reading, self._record, self._source))

    @property
    def in_words(self) -> bool:
        """Whether the query is a text, or several images and texts: ``asked`` says why an image matches."""
        return self._text is not None or self._asked is not None

    @property
    def asked(self) -> Asked:
        """What was asked for, in parts. Raises ValueError for a query that is one image or a vector."""
        if self._asked is None:
            if self._text is None or self._embedder is None:
                raise ValueError("this query has no words; ask for its reading")
            self._asked = asked_text(self._embedder, self._text)
        return self._asked

    @property
    def name(self) -> str:
        """The text, or the name of the image's file; empty for a vector."""
        if self.in_words:
            return self._text if self._text is not None else self.asked.text
        if self._record is not None:
            return Path(self._record.path).name
        if self._reading is None and isinstance(self._source, str | Path):
            return Path(self._source).name
        return "" if self._reading is None else self._reading.picture.name

    @property
    def reading(self) -> Reading:
        """The query image, decoded once.

        Raises ValueError for several images and for a vector, UnreadableImageError for a record whose file
        has changed or can't be read.
        """
        if self._reading is None and self._source is not None and self._embedder is not None:
            picture, id = load_query(self._source, self._embedder)
            if id != self.id:
                raise UnreadableImageError(f"{picture.name} has changed since the search; search again")
            self._reading = self._embedder.read(picture)
        if self._reading is None:
            if self._record is None or self._embedder is None:
                raise ValueError("only the similarity with one image can be explained; query with one image")
            self._reading = read_to_draw(existing_file(self._record), self._embedder)
        return self._reading

    @property
    def shares(self) -> Shares:
        """The query's shares; those of a region are weighted.

        Raises ValueError as ``reading`` does, and UnsupportedMethodError for a model without shares.
        """
        if self._shares is None:
            reading = self.reading
            assert self._embedder is not None
            (self._shares,) = (self._runner or DirectRunner(self._embedder)).shares([reading])
        return self._shares

    @property
    def at_last_layer(self) -> tuple[Reading, SharesPass]:
        """The image or its region, to be split over the cells of its last layer; raises as ``shares``."""
        reading, own = at_last_layer(self.reading, self.shares)
        return reading, own if self.examples is None else ExamplesPass(own, self.examples)

    @property
    def record(self) -> Record | None:
        """The record that the query is, where it is one of the gallery."""
        return self._record

    def with_examples(self, examples: Examples | None) -> Query:
        """Return the query with examples added to its vector; itself for None."""
        if examples is None:
            return self
        query = copy.copy(self)
        query.unit, query.examples = examples.added_to(self.unit), examples
        return query

    def reduce_picture(self, side: int) -> None:
        """Reduce the picture that maps are drawn on to ``side`` pixels; the model's input is unchanged."""
        self._reading = reduced(self.reading, side)

    def check_explainable(self) -> None:
        """Raise ValueError for a query that is not one image, UnsupportedMethodError without shares."""
        self.shares  # noqa: B018


def make_query(
    source: QuerySource | Query, region: Region | None, store: VectorStore, embedder: Embedder
) -> Query:
    """Return the query for an image, several images, a record's id or a vector (D,); see ``Gallery.search``.

    Raises UnreadableImageError, and ValueError for a vector of another width and for a region of
    anything but one image.
    """
    if isinstance(source, Query):
        if region is not None:
            raise ValueError("this query has a region already; leave box and polygon out")
        return source
    if isinstance(source, str) and (record := named_record(source, store)):
        if region is None:
            return record_query(record, store.embeddings([record.id])[0], embedder)
        source = existing_file(record)
    if not is_vector(source) and is_one_image(source):
        return image_query(source, embedder, region)  # type: ignore[arg-type]
    if region is not None:
        raise ValueError("a region is a part of one image; query with one image")
    if is_vector(source):
        return vector_query(source, store.width)
    if not isinstance(source, Sequence) or not len(source):
        raise ValueError(
            "a query must be an image, a list of at least one, an id or a vector; "
            f"got {type(source).__name__}"
        )
    return images_query(list(source), embedder)  # type: ignore[arg-type]


def image_query(
    source: ImageSource, embedder: Embedder, region: Region | None = None, *, name: str | None = None
) -> Query:
    """Return the query for an image or a region of it; ``name`` replaces the file's name.

    Raises UnreadableImageError, and ValueError for a region that is empty or outside the image.
    """
    if region is not None:
        reading, id = read_image(source, embedder, name=name)
        return region_query(reading, region, embedder, id=id)
    reading, id = read_query(source, embedder, name=name)
    return whole_query(reading, embedder, id=id)


def whole_query(
    reading: Reading, embedder: Embedder, *, id: str | None = None, runner: Runner | None = None
) -> Query:
    """Return the query for an image that was read; the model runs at once, or by ``runner``."""
    unit, shares = _embedding_and_shares(reading, embedder, runner or DirectRunner(embedder))
    return Query(unit, embedder=embedder, reading=reading, shares=shares, id=id, runner=runner)


def read_query(
    source: ImageSource, embedder: Embedder, *, name: str | None = None
) -> tuple[Reading, str | None]:
    """Decode a query image at a scale large enough to draw on; and the record id of its content, or None."""
    picture, id = _load(source, name, embedder, at_least=_DRAWN_SIZE)
    return embedder.read(picture), id


def reduced(reading: Reading, side: int) -> Reading:
    """Return a reading whose picture, to be drawn on, has at most ``side`` pixels; the input is the same."""
    small = reading.picture.image.copy()
    small.thumbnail((side, side), reducing_gap=2.0)
    return replace(reading, picture=replace(reading.picture, image=small))


def load_query(source: ImageSource, embedder: Embedder) -> tuple[Picture, str | None]:
    """Decode a query image, and return it with the record id of its content (None in memory)."""
    return _load(source, None, embedder, at_least=_DRAWN_SIZE)


def read_image(
    source: ImageSource, embedder: Embedder, *, name: str | None = None
) -> tuple[Reading, str | None]:
    """Decode an image with every pixel, as small regions need; and the record id of its content, or None."""
    picture, id = _load(source, name, embedder, at_least=None)
    return embedder.read(picture), id


def region_query(
    reading: Reading,
    region: Region,
    embedder: Embedder,
    *,
    id: str | None = None,
    whole: Shares | None = None,
    runner: Runner | None = None,
) -> Query:
    """Return the query for a region of an image; ``whole`` are the image's shares, if they are at hand.

    The model runs at once, or by ``runner``. Raises ValueError for a region that is empty or outside the
    image.
    """
    shares = region_shares(reading, region, embedder, whole=whole, runner=runner)
    unit = F.normalize(shares.total, dim=0)
    return Query(unit, embedder=embedder, reading=reading, shares=shares, region=region, id=id)


def images_query(sources: Sequence[ImageSource], embedder: Embedder) -> Query:
    """Return the query for several images: the normalized mean of their unit embeddings."""
    if len(sources) == 1:
        return image_query(sources[0], embedder)
    return Query(F.normalize(embedder.embed(sources).mean(0), dim=0))


def record_query(
    record: Record, embedding: FloatArray, embedder: Embedder, runner: Runner | None = None
) -> Query:
    """Return the query for a record: its stored embedding (D,); its file is read only to explain."""
    return Query(torch.from_numpy(embedding), embedder=embedder, record=record, id=record.id, runner=runner)


def vector_query(vector: NDArray[Any] | Tensor, width: int) -> Query:
    """Return the query for a vector (D,) or (1, D), normalized unless it has unit length.

    Raises ValueError for another width, for values that are not finite, and for zero.
    """
    numbers = np.asarray(vector, dtype=np.float32).reshape(-1).copy()
    values = torch.from_numpy(numbers)
    if values.shape != (width,):
        raise ValueError(f"a query vector must have shape ({width},) here, got {tuple(values.shape)}")
    if not (np.isfinite(numbers).all() and numbers.any()):
        raise ValueError("a query vector must be finite and not zero; check where it comes from")
    return Query(unit_rows(values[None])[0])


def read_to_draw(source: ImageSource, embedder: Embedder) -> Reading:
    """Decode an image at a scale large enough to draw on, and prepare it for the model."""
    return embedder.read(embedder.picture(source, at_least=_DRAWN_SIZE))


def at_last_layer(reading: Reading, shares: Shares) -> tuple[Reading, LastPass]:
    """An image to be split over the cells of its last layer; it lies where its shares lie."""
    return replace(reading, geometry=shares.geometry), LastPass(shares)


def existing_file(record: Record) -> Path:
    """Return the first file of a record that still holds what was indexed; its first file if none exists.

    Raises UnreadableImageError if every file that exists has another content by now.
    """
    existing = [file for file in record.files if images.is_there(file.path)]
    for file in existing:
        if _is_as_indexed(file, record):
            return Path(file.path)
    if existing:
        raise UnreadableImageError(
            f"{existing[0].path} has changed since it was indexed; index its folder again"
        )
    return Path(record.files[0].path)


def _is_as_indexed(file: Copy, record: Record) -> bool:
    """Whether size and time are those of before, or else the content."""
    try:
        status = images.status_of(file.path)
        if status.size != record.size:
            return False
        if status.mtime_ns == file.mtime_ns:
            return True
        return hashlib.sha256(images.file_bytes(file.path)).hexdigest() == record.hash
    except (OSError, UnreadableImageError):
        return True  # reading it says what is wrong


def query_id(source: str | Path) -> str:
    """Return the record id of a file's content; a text that is no file is an id already."""
    is_file = images.is_remote(source) or images.is_there(source)
    return _content_id(images.file_bytes(source)) if is_file else str(source)


def is_vector(source: object) -> TypeGuard[NDArray[Any] | Tensor]:
    """Whether a query is a vector: (D,), or one floating row (1, D) as ``Embedder.embed`` returns it."""
    if not isinstance(source, np.ndarray | Tensor):
        return False
    is_row = source.ndim == 2 and len(source) == 1 and "float" in str(source.dtype)
    return source.ndim == 1 or is_row


def named_record(id: str, store: VectorStore) -> Record | None:
    """Return the record with this id, unless a file has that name."""
    if images.is_remote(id) or Path(id).exists():
        return None
    return next(iter(store.records([id])), None)


def _load(
    source: ImageSource, name: str | None, embedder: Embedder, *, at_least: tuple[int, int] | None
) -> tuple[Picture, str | None]:
    """The picture, and the record id of its content (None for images in memory)."""
    if isinstance(source, str | Path):
        path, data = Path(source), images.file_bytes(source)
        picture = embedder.picture(data, at_least=at_least, name=str(path))
        picture = replace(picture, name=name or path.name)
        return picture, _content_id(data)
    id = _content_id(source) if isinstance(source, bytes) else None
    return embedder.picture(source, at_least=at_least, name=name), id


def _content_id(data: bytes) -> str:
    return record_id(hashlib.sha256(data).hexdigest())


def _embedding_and_shares(
    reading: Reading, embedder: Embedder, runner: Runner
) -> tuple[Tensor, Shares | None]:
    """The unit embedding (D,), and the shares if the same forward pass computes both."""
    if embedder.precision == "fp32":
        try:
            (shares,) = runner.shares([reading])
            return F.normalize(shares.total, dim=0), shares
        except UnsupportedMethodError:
            pass  # a model without shares
    return runner.unit(reading), None
