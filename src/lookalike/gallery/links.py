"""Links between pictures of a gallery: pairs of neighbors, and the evidence that two are one picture."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from numpy.typing import NDArray

from lookalike.errors import UnreadableImageError
from lookalike.gallery.query import existing_file
from lookalike.models.embedder import Embedder
from lookalike.ops.neighbors import nearest
from lookalike.rerankers.alignment import (
    Alignment,
    ReducedPicture,
    align_pictures,
    mirrored_tiny,
    reduced_picture,
)
from lookalike.store import Record
from lookalike.store.accelerator import Accelerator
from lookalike.types import FloatArray, ProgressCallback
from lookalike.types.progress import tracked

GroupKind = Literal["copy", "near-duplicate", "same"]
GROUP_KINDS: tuple[GroupKind, ...] = ("copy", "near-duplicate", "same")

# Chosen on the sample of benchmarks/duplicates.py with seed 0; its table is of another sample.
_MIN_EQUALITY = 0.48  # of contents in the overlap
_LAID_OVER, _SAME_FRAME = 0.33, 0.985  # less equality will do where both show all that the other shows
_MIN_OVERLAP = 0.93  # of the picture that shows less
_MIN_INLIERS, _LAID_OVER_INLIERS = 10, 40
_FEW_INLIERS, _WITHOUT_INLIERS = 0.65, 0.8  # equality that will do with fewer inliers, or with none
_CACHED = 4000  # reduced pictures in memory, about 130 kB each
_LOOKS, _LOOKS_LIKE = 3, 0.75  # nearest by tiny pictures, and their least cosine
_DECODED = (320, 320)  # pixels at least
_BLOCK = 4096  # rows whose neighbors are sought at once


@dataclass(frozen=True, eq=False)
class PictureLink:
    """Evidence that two files show the same; ``change`` says what was done to the second."""

    kind: GroupKind
    first: str  # path
    second: str  # path
    similarity: float  # cosine of their embeddings, [-1, 1]
    change: tuple[str, ...] = ()  # in words; empty for copies, and where they are not one picture
    alignment: Alignment | None = None  # of original pixels; only for near-duplicates

    def to_dict(self) -> dict[str, Any]:
        """Return the link as JSON types."""
        found = self.alignment
        return {
            "kind": self.kind,
            "first": self.first,
            "second": self.second,
            "similarity": self.similarity,
            "change": list(self.change),
            "transformation": None if found is None else found.matrix.tolist(),
            "agreement": None if found is None else found.agreement,
            "equality": None if found is None else found.equality,
            "overlap": None if found is None else list(found.overlap),
            "inliers": None if found is None else found.n_inliers,
        }


@dataclass(frozen=True, eq=False)
class RowPairs:
    """Pairs of rows, each once, with the cosines of their embeddings; most similar first."""

    first: NDArray[np.int64]  # (P,)
    second: NDArray[np.int64]  # (P,)
    cosines: FloatArray  # (P,)

    def __len__(self) -> int:
        return len(self.first)

    def __iter__(self) -> Iterator[tuple[int, int, float]]:
        return zip(self.first.tolist(), self.second.tolist(), self.cosines.tolist(), strict=True)

    @classmethod
    def none(cls) -> RowPairs:
        """Return no pairs."""
        nothing = np.zeros(0, dtype=np.int64)
        return cls(nothing, nothing, np.zeros(0, dtype=np.float32))

    def joined(self, other: RowPairs) -> RowPairs:
        """Return the pairs of both, each once."""
        sides = ((each.first, each.second, each.cosines) for each in (self, other))
        return _unique(list(sides))

    def at_least(self, cosine: float) -> RowPairs:
        """Return the pairs with this cosine or more."""
        n = int(np.searchsorted(-self.cosines, -cosine, side="right"))
        return RowPairs(self.first[:n], self.second[:n], self.cosines[:n])


def neighbor_pairs(
    vectors: FloatArray, k: int, *, step: Callable[[int], None] = lambda rows: None
) -> RowPairs:
    """Return every unit vector (G, D) with its k nearest others, exactly and in blocks: at most G k pairs.

    ``step`` is called with the number of rows of each block when it is done.
    """
    gallery = torch.from_numpy(vectors)

    def blocks() -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], FloatArray]]:
        for start in range(0, len(vectors), _BLOCK):
            cosines, columns = nearest(gallery[start : start + _BLOCK], gallery, k + 1)
            rows = np.repeat(np.arange(start, start + len(columns)), columns.shape[1])
            yield rows, columns.numpy().reshape(-1), cosines.numpy().reshape(-1)
            step(len(columns))

    return _unique(list(blocks()))


def approximate_pairs(
    accelerator: Accelerator,
    ids: Sequence[str],
    vectors: FloatArray,
    k: int,
    *,
    step: Callable[[int], None] = lambda rows: None,
) -> RowPairs:
    """Return the pairs as ``neighbor_pairs``, with neighbors of an approximate index and exact cosines."""
    row_of = {id: row for row, id in enumerate(ids)}
    found = []
    for row, vector in enumerate(vectors):
        columns = [row_of[id] for id in accelerator.nearest_ids(vector, k + 1) if id in row_of]
        found.append(
            (np.full(len(columns), row), np.array(columns, dtype=np.int64), vectors[columns] @ vector)
        )
        step(1)
    return _unique(found)


def cross_pairs(first: FloatArray, second: FloatArray, k: int) -> RowPairs:
    """Return the vectors of each side with their k nearest of the other.

    Rows of the second side are counted on from the first's.
    """
    a, b = torch.from_numpy(first), torch.from_numpy(second)
    found = []
    for query, gallery, is_first in ((a, b, True), (b, a, False)):
        cosines, columns = nearest(query, gallery, k)
        rows = np.repeat(np.arange(len(query)), columns.shape[1]) + (0 if is_first else len(first))
        others = columns.numpy().reshape(-1) + (len(first) if is_first else 0)
        found.append((rows, others, cosines.numpy().reshape(-1)))
    return _unique(found)


def _unique(found: Sequence[tuple[NDArray[Any], NDArray[Any], NDArray[Any]]]) -> RowPairs:
    if not found:
        return RowPairs.none()
    rows, columns, cosines = (np.concatenate(each) for each in zip(*found, strict=True))
    is_other = rows != columns
    rows, columns, cosines = rows[is_other], columns[is_other], cosines[is_other]
    sides = np.stack([np.minimum(rows, columns), np.maximum(rows, columns)]).astype(np.int64)
    _, kept = np.unique(sides, axis=1, return_index=True)
    kept = kept[np.argsort(-cosines[kept], kind="stable")]
    return RowPairs(sides[0][kept], sides[1][kept], np.clip(cosines[kept], -1, 1).astype(np.float32))


@final
class Aligner:
    """Aligns pairs of records; keeps the reduced pictures that it used last."""

    def __init__(self, records: Sequence[Record], embedder: Embedder, *, n_first: int | None = None) -> None:
        self._n_first = n_first  # of two galleries: only pairs across them are sought
        self.unreadable: dict[str, str] = {}  # path -> why
        self._records, self._embedder = records, embedder
        self._reduced: OrderedDict[int, ReducedPicture | None] = OrderedDict()

    def near_duplicate(self, first: int, second: int) -> Alignment | None:
        """Return the alignment of two rows if both are one photograph, else None, as for unreadable files."""
        a, b = self.reduced(first), self.reduced(second)
        if a is None or b is None:
            return None
        found = align_pictures(a, b)
        return found if found is not None and is_one_picture(found) else None

    def lookalikes(self, vectors: FloatArray, progress: ProgressCallback | None = None) -> RowPairs:
        """Return pairs that look alike at 12 x 12 pixels, also mirrored, with the cosines of embeddings.

        A network may take a blurred picture, or one with text over it, for something else; these pairs are
        compared too. Every picture is read.
        """
        rows, tiny = [], []
        for row in tracked(range(len(self._records)), "reading pictures", len(self._records), progress):
            if (reduced := self.reduced(row)) is not None:
                rows.append(row)
                tiny.append(reduced.tiny)
        if len(rows) < 2:
            return RowPairs.none()
        looks, numbers = torch.from_numpy(np.stack(tiny)), np.array(rows)
        found = []
        for queries in (looks, torch.from_numpy(mirrored_tiny(looks.numpy()))):
            cosines, columns = nearest(queries, looks, _LOOKS + 1 if self._n_first is None else 4 * _LOOKS)
            a, b = np.nonzero(cosines.numpy() >= _LOOKS_LIKE)
            first, second = numbers[a], numbers[columns.numpy()[a, b]]
            if self._n_first is not None:
                is_across = (first < self._n_first) != (second < self._n_first)
                first, second = first[is_across], second[is_across]
            found.append((first, second, (vectors[first] * vectors[second]).sum(1)))
        return _unique(found)

    def reduced(self, row: int) -> ReducedPicture | None:
        """Return the reduced picture of a row; None if its file can't be read."""
        if row in self._reduced:
            self._reduced.move_to_end(row)
            return self._reduced[row]
        record = self._records[row]
        try:
            made = reduced_picture(self._embedder.picture(existing_file(record), at_least=_DECODED))
        except UnreadableImageError as error:
            self.unreadable[record.path] = str(error)
            made = None
        self._reduced[row] = made
        if len(self._reduced) > _CACHED:
            self._reduced.popitem(last=False)
        return made


def is_one_picture(alignment: Alignment) -> bool:
    """Whether an alignment is evidence enough that both are one photograph, altered."""
    if max(alignment.overlap) < _MIN_OVERLAP:
        return False
    if alignment.equality >= _MIN_EQUALITY:
        least = _FEW_INLIERS if alignment.n_inliers else _WITHOUT_INLIERS
        return alignment.n_inliers >= _MIN_INLIERS or alignment.equality >= least
    is_same_frame = min(alignment.overlap) >= _SAME_FRAME
    return is_same_frame and alignment.equality >= _LAID_OVER and alignment.n_inliers >= _LAID_OVER_INLIERS
