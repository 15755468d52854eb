"""Many queries of one gallery: embedded in batches, and one that can't be used doesn't stop the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from torch import Tensor

from lookalike.errors import LookalikeError, ModelOutputError, UnreadableImageError
from lookalike.gallery.query import Query, QuerySource, is_vector, load_query, make_query, named_record
from lookalike.images import ImageSource, is_one_image
from lookalike.models.embedder import Embedder, InputPixels
from lookalike.store import VectorStore

BATCH_SIZE = 32  # images that the model embeds at once
_AT_ONCE = 256  # queries in a batch when most are embedded already: a product of matrices pays the better
QUERY_ERRORS = (UnreadableImageError, ModelOutputError)  # of one query; others concern all of them


@dataclass(frozen=True)
class _Waiting:
    """An image that was decoded and is not embedded yet."""

    position: int  # in its batch
    source: ImageSource
    pixels: InputPixels
    name: str
    id: str | None


def batched_queries(
    sources: Iterable[QuerySource | Query],
    store: VectorStore,
    embedder: Embedder,
    batch_size: int,
    expect: Callable[[Sequence[Tensor]], None],
) -> Iterator[Query | LookalikeError]:
    """Yield the query of each source, or the error that names why there is none; see ``make_query``.

    Single images are embedded ``batch_size`` at a time; their pictures are not kept, but read again to
    explain a hit. ``expect`` is told the unit vectors of each batch before its first query; vectors and
    queries are taken in batches of up to 256.
    """
    if batch_size < 1:
        raise ValueError(f"batch_size is 1 or more, got {batch_size}")
    try:
        for batch in _batches(sources, batch_size):
            found = _batch(batch, store, embedder)
            expect([query.unit for query in found if isinstance(query, Query)])
            yield from found
    finally:
        expect(())


def _batches(sources: Iterable[QuerySource | Query], batch_size: int) -> Iterator[list[QuerySource | Query]]:
    """Lists of sources, each with at most ``batch_size`` that may have to be embedded."""
    batch: list[QuerySource | Query] = []
    n_open = 0
    for source in sources:
        batch.append(source)
        n_open += not (isinstance(source, Query) or is_vector(source))
        if n_open == batch_size or len(batch) == max(batch_size, _AT_ONCE):
            yield batch
            batch, n_open = [], 0
    if batch:
        yield batch


def _batch(
    sources: list[QuerySource | Query], store: VectorStore, embedder: Embedder
) -> list[Query | LookalikeError]:
    found: dict[int, Query | LookalikeError] = {}
    waiting: list[_Waiting] = []
    for position, source in enumerate(sources):
        try:
            if _is_file_or_pixels(source, store):
                waiting.append(_decoded(position, source, embedder))  # type: ignore[arg-type]
            else:
                found[position] = make_query(source, None, store, embedder)
        except QUERY_ERRORS as error:
            found[position] = error
    found |= dict(zip((each.position for each in waiting), _embedded(waiting, embedder), strict=True))
    return [found[position] for position in range(len(sources))]


def _is_file_or_pixels(source: QuerySource | Query, store: VectorStore) -> bool:
    """Whether a source is one image that has to be decoded: no query, vector, list or record."""
    if isinstance(source, Query) or is_vector(source) or not is_one_image(source):
        return False
    return not (isinstance(source, str) and named_record(source, store))


def _decoded(position: int, source: ImageSource, embedder: Embedder) -> _Waiting:
    picture, id = load_query(source, embedder)
    return _Waiting(position, source, embedder.read(picture).pixels, picture.name, id)


def _embedded(waiting: list[_Waiting], embedder: Embedder) -> list[Query | LookalikeError]:
    if not waiting:
        return []
    try:
        units = embedder.embed_pixels([w.pixels for w in waiting], names=[w.name for w in waiting])
    except ModelOutputError as error:
        if len(waiting) == 1:
            return [error]
        return [query for each in waiting for query in _embedded([each], embedder)]
    return [
        Query(unit, embedder=embedder, source=each.source, id=each.id)
        for unit, each in zip(units, waiting, strict=True)
    ]
