"""Queries in words, and queries of several images and texts, wanted and not wanted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lookalike.errors import UnreadableImageError
from lookalike.explainers.words import combined
from lookalike.gallery.query import Query, QuerySource, make_query, named_record
from lookalike.gallery.regions import Region
from lookalike.images import IMAGE_SUFFIXES, is_remote
from lookalike.models.embedder import Embedder
from lookalike.store import VectorStore

_AGAINST = 0.5  # weight of all that is not wanted, against 1 for what is


def text_query(text: str, embedder: Embedder) -> Query:
    """Return the query for a text. Raises UnsupportedMethodError for a model without a text tower."""
    return Query(embedder.embed_text(text)[0], embedder=embedder, text=text)


def worded_query(
    query: QuerySource | Query | None,
    region: Region | None,
    *,
    text: str | None,
    unlike: Sequence[QuerySource | Query],
    weight: float,
    store: VectorStore,
    embedder: Embedder,
) -> Query:
    """Return the query for an image, a text, or both, less what it should not look like.

    The unit vectors are added: the text by ``weight`` and the image by the rest, less half of the mean of
    what is not wanted. A string in ``unlike`` is a file or record id if there is one, else a text. Raises
    ValueError for nothing to search for and for a weight outside (0, 1), and as ``make_query``.
    """
    if query is None and text is None:
        raise ValueError("a search needs an image or a text; give one")
    if not 0 < weight < 1:
        raise ValueError(f"weight is the text's share beside the image, above 0 and below 1; got {weight}")
    image = None if query is None else make_query(query, region, store, embedder)
    words = None if text is None else text_query(text, embedder)
    if region is not None and image is None:
        raise ValueError("a region is a part of one image; leave it out, or give the image")
    against = [unlike] if isinstance(unlike, str) else list(unlike)
    if not against and (image is None or words is None):
        return image or words  # type: ignore[return-value]
    both = image is not None and words is not None
    parts = []
    if words is not None:
        parts.append((str(text), weight if both else 1.0, words.unit))
    if image is not None:
        parts.append((_name(image), 1 - weight if both else 1.0, image.unit))
    for each in against:
        unwanted = _unwanted(each, store, embedder)
        parts.append((_name(unwanted), -_AGAINST / len(against), unwanted.unit))
    asked = combined(embedder.width, parts)
    return Query(asked.unit, embedder=embedder, asked=asked, id=None if image is None else image.id)


def _unwanted(source: QuerySource | Query, store: VectorStore, embedder: Embedder) -> Query:
    if (
        not isinstance(source, str)
        or is_remote(source)
        or Path(source).exists()
        or named_record(source, store)
    ):
        return make_query(source, None, store, embedder)
    if Path(source).suffix.lower() in IMAGE_SUFFIXES:
        raise UnreadableImageError(f"there is no image {source}; check the path, or use other words")
    return text_query(source, embedder)


def _name(query: Query) -> str:
    return query.name or "an image"
