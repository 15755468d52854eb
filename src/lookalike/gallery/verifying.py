"""Local features of a gallery's pictures and of queries, found once in a run, and evidence with pictures."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import final

from PIL import Image
from torch import Tensor

from lookalike.gallery.query import Query, existing_file
from lookalike.gallery.regions import Region
from lookalike.models.embedder import Embedder
from lookalike.rerankers import LocalFeatures, MatchOdds, local_features
from lookalike.rerankers.local_features import MATCH_FEATURES, MATCH_SIDE, QUERY_FEATURES, QUERY_SIDE, Frame
from lookalike.rerankers.transformations import verify_features
from lookalike.store import Record
from lookalike.types import GeometricMatch, Picture, Verification

_BUDGET = 4000  # pictures whose features are kept, of about 0.4 MB each
_TURNED_SIDE = 768  # pixels of pictures that are turned to be embedded
_MARGIN = 0.02  # of a box's sides, by which its features may lie outside


@final
class FeatureCache:
    """The local features of a gallery's pictures, found when they are first needed; safe with threads."""

    def __init__(self, embedder: Embedder, budget: int = _BUDGET) -> None:
        self._embedder, self._budget = embedder, budget
        self._kept: OrderedDict[str, LocalFeatures] = OrderedDict()
        self._lock = threading.Lock()

    def of_record(self, record: Record) -> LocalFeatures:
        """Return the features of a record's picture. Raises UnreadableImageError if its file is gone."""
        with self._lock:
            if (kept := self._kept.get(record.id)) is not None:
                self._kept.move_to_end(record.id)
                return kept
        picture = self._embedder.picture(existing_file(record), at_least=(MATCH_SIDE, MATCH_SIDE))
        found = local_features(picture, side=MATCH_SIDE, n=MATCH_FEATURES)
        with self._lock:
            self._kept[record.id] = found
            while len(self._kept) > self._budget:
                self._kept.popitem(last=False)
        return found


def query_features(query: Query) -> LocalFeatures:
    """Return the features of a query's picture, or of its region with a small margin.

    Raises ValueError for a query that is not one image.
    """
    picture = query.reading.picture
    return local_features(picture, frame=frame_of(query, picture), side=QUERY_SIDE, n=QUERY_FEATURES)


def frame_of(query: Query, picture: Picture) -> Frame:
    """Return the part of the picture that a query looks at: left, top, right, bottom in pixels."""
    return _frame(query.region, picture)


def _frame(region: Region | None, picture: Picture) -> Frame:
    height, width = picture.original_size
    if region is None:
        return 0.0, 0.0, float(width), float(height)
    if region.box is not None:
        left, top, right, bottom = region.box
    else:
        x, y = zip(*(region.polygon or ()), strict=True)
        left, top, right, bottom = min(x), min(y), max(x), max(y)
    dx, dy = _MARGIN * (right - left), _MARGIN * (bottom - top)
    return (
        max(0.0, float(left - dx)),
        max(0.0, float(top - dy)),
        min(float(width), float(right + dx)),
        min(float(height), float(bottom + dy)),
    )


def turned_units(query: Query, embedder: Embedder) -> Tensor:
    """Return the unit embeddings of a query's picture, or of its region, by three quarter turns: (3, D).

    Empty, (0, D), for a query that is not one image.
    """
    if not query.is_one_image:
        return query.unit.new_zeros(0, len(query.unit))
    picture = query.reading.picture
    frame = frame_of(query, picture)
    height, width = picture.original_size
    x, y = picture.image.width / width, picture.image.height / height  # decoded at reduced scale
    left, top = int(frame[0] * x), int(frame[1] * y)
    right, bottom = max(left + 2, round(frame[2] * x)), max(top + 2, round(frame[3] * y))
    image = picture.image.crop((left, top, right, bottom))
    image.thumbnail((_TURNED_SIDE, _TURNED_SIDE))
    turns = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180, Image.Transpose.ROTATE_270)
    return embedder.embed([image.transpose(turn) for turn in turns])


def geometric_match(
    query: Picture, match: Picture, found: Verification, similarity: float, odds: MatchOdds, model: str
) -> GeometricMatch:
    """Return two pictures with their evidence and its probability."""
    probability = odds.probability(similarity, found.by_features)
    return GeometricMatch(query, match, found, similarity, probability, model)


def verified_pair(
    query: Picture,
    region: Region | None,
    record: Record,
    similarity: float,
    odds: MatchOdds,
    embedder: Embedder,
) -> GeometricMatch:
    """Compare a picture, or a region of it, with a record's picture by local features, as a search does.

    ``similarity`` is their cosine; no network runs. Raises UnreadableImageError if the record's file is
    gone, and LookalikeError if OpenCV is not installed.
    """
    features = local_features(query, frame=_frame(region, query), side=QUERY_SIDE, n=QUERY_FEATURES)
    picture = embedder.picture(existing_file(record), at_least=(MATCH_SIDE, MATCH_SIDE))
    others = local_features(picture, side=MATCH_SIDE, n=MATCH_FEATURES)
    return geometric_match(query, picture, verify_features(features, others), similarity, odds, embedder.name)
