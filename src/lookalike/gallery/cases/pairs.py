"""The pairs of a case, as its events leave them: two pictures, what was found, and what was decided."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

from lookalike.errors import GalleryError
from lookalike.gallery.cases.log import CaseEvent
from lookalike.gallery.regions import Box, Region
from lookalike.store import record_id

CaseVerdict = Literal["same", "different", "unsure"]
CASE_VERDICTS: tuple[CaseVerdict, ...] = ("same", "different", "unsure")
UNDECIDED = "undecided"  # takes a verdict back, and names pairs without one
_PAIR_DIGITS = 16
_REGION_DECIMALS = 2  # of pixels
_EXAMPLES = ("liked", "disliked")


@dataclass(frozen=True)
class CasePicture:
    """A picture of a case, by its content."""

    sha256: str  # of the file, hexadecimal
    name: str  # file name
    path: str | None = None  # where it lay; None for an upload

    @property
    def id(self) -> str:
        """The id of a gallery's record with this content."""
        return record_id(self.sha256)


@dataclass(frozen=True)
class CasePair:
    """A query, or a region of it, and a picture that was found or is looked at beside it."""

    id: str  # 16 hexadecimal digits of the hash of both contents and the region
    query: CasePicture
    box: Box | None  # left, top, right, bottom in pixels of the query
    polygon: tuple[tuple[float, float], ...] | None  # (x, y) in pixels of the query
    hit: CasePicture
    similarity: float  # cosine, [-1, 1]
    probability: float | None  # of a match, [0, 1], as shown; None without one
    rank: int | None  # in the search that found it, from 1; None if no search did
    method: str  # explanation method of the map that belongs to the similarity
    model: str
    fingerprint: str  # of the model
    parameters: Mapping[str, Any]  # of the search; JSON types
    metadata: Mapping[str, Any]  # of the hit's file
    verdict: CaseVerdict | None = None  # None: undecided
    note: str = ""
    tags: tuple[str, ...] = ()
    who: str = ""  # made the last change
    when: str = ""  # of the last change: UTC, ISO 8601; empty if there was none
    seen: str = ""  # the map that was seen when it was decided, in words

    @property
    def region(self) -> Region | None:
        """The region of the query; None for the whole picture."""
        return Region.of(self.box, self.polygon)

    def is_of_region(self, box: Sequence[float] | None, polygon: Sequence[Sequence[float]] | None) -> bool:
        """Whether this is the region of the pair, to a hundredth of a pixel; None and None: the whole."""
        mine = rounded_box(self.box), rounded_polygon(self.polygon)
        return mine == (rounded_box(box), rounded_polygon(polygon))

    @property
    def is_plain(self) -> bool:
        """Whether the similarity is that of two whole pictures alone, as calibration needs it."""
        is_moved = any(self.parameters.get(name) for name in ("text", "unlike"))
        return self.region is None and not is_moved and not any(self.examples.values())

    @property
    def examples(self) -> dict[str, list[str]]:
        """Record ids of the images that its search was told are like the query, and of those that are not."""
        given = self.parameters.get("examples")
        lists = {name: given.get(name) if isinstance(given, Mapping) else None for name in _EXAMPLES}
        return {name: list(ids) if isinstance(ids, list) else [] for name, ids in lists.items()}

    def to_dict(self) -> dict[str, Any]:
        """Return the pair as JSON types; see docs/cases.md."""
        values = {name: getattr(self, name) for name in _PLAIN_FIELDS}
        return {
            **values,
            "query": _picture_values(self.query),
            "hit": _picture_values(self.hit),
            "box": None if self.box is None else list(self.box),
            "polygon": None if self.polygon is None else [list(corner) for corner in self.polygon],
            "parameters": dict(self.parameters),
            "metadata": dict(self.metadata),
            "tags": list(self.tags),
        }


_PLAIN_FIELDS = (
    "id", "verdict", "note", "who", "when", "seen", "similarity", "probability", "rank", "method", "model",
    "fingerprint",
)  # fmt: skip


@dataclass(frozen=True)
class Found:
    """What one search of a case found: its query, its settings, and its hits."""

    query: CasePicture
    box: Box | None
    polygon: Sequence[Sequence[float]] | None
    method: str
    model: str
    fingerprint: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    hits: Sequence[Mapping[str, Any]] = ()  # sha256, name, path, similarity, probability, rank, metadata

    def to_dict(self) -> dict[str, Any]:
        """Return it as the body of an event."""
        return {
            "query": _picture_values(self.query),
            "box": rounded_box(self.box),
            "polygon": rounded_polygon(self.polygon),
            "method": self.method,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "parameters": dict(self.parameters),
            "hits": [dict(hit) for hit in self.hits],
        }

    def pair_ids(self) -> list[str]:
        """Return the ids of the pairs of the query with each hit."""
        box, polygon = rounded_box(self.box), rounded_polygon(self.polygon)
        return [pair_id(self.query.sha256, box, polygon, hit["sha256"]) for hit in self.hits]


def pair_id(query: str, box: Sequence[float] | None, polygon: object, hit: str) -> str:
    """Return the id of a pair: of the SHA-256 of both pictures and the region on the query."""
    text = json.dumps([query, None if box is None else list(box), polygon, hit], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:_PAIR_DIGITS]


def rounded_box(box: Sequence[float] | None) -> list[float] | None:
    """Return a box to a hundredth of a pixel, so that the same box is the same region."""
    return None if box is None else [round(float(side), _REGION_DECIMALS) for side in box]


def rounded_polygon(polygon: Sequence[Sequence[float]] | None) -> list[list[float]] | None:
    """Return the corners of a polygon to a hundredth of a pixel."""
    if polygon is None:
        return None
    return [[round(float(value), _REGION_DECIMALS) for value in corner] for corner in polygon]


@final
class CaseFold:
    """The pairs as the events leave them; events that were seen before are not gone through again."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: Sequence[CaseEvent] = ()
        self._pairs: dict[str, CasePair] = {}

    def pairs(self, events: Sequence[CaseEvent]) -> dict[str, CasePair]:
        """Return the pairs by id, in the order of their first search, for all events of a case."""
        with self._lock:
            n = len(self._seen)
            goes_on = len(events) >= n and (not n or events[n - 1] is self._seen[-1])
            new = events[n:]
            if not goes_on or any(event.kind == "undo" for event in new):
                new, self._pairs = events, {}
            undone = {undone_by(event) for event in new}
            for event in new:
                with _damage_named(event):
                    if event.kind == "search":
                        self._find(event)
                    elif event.kind == "decide" and event.number not in undone:
                        id = event.body["pair"]
                        self._pairs[id] = _decided(self._pairs[id], event)
            self._seen = events
            return dict(self._pairs)

    def _find(self, event: CaseEvent) -> None:
        for pair in _pairs_found(event.body):
            before = self._pairs.get(pair.id)
            if before is None:
                self._pairs[pair.id] = pair
            elif before.verdict is None:  # what was decided stays as it was seen
                self._pairs[pair.id] = _with_decision_of(pair, before)


def undone_by(event: CaseEvent) -> int | None:
    """Return the number of the event that an event takes back; None if it is none that does."""
    with _damage_named(event):
        return int(event.body["undoes"]) if event.kind == "undo" else None


@contextmanager
def _damage_named(event: CaseEvent) -> Iterator[None]:
    """Turn what an event of an odd form raises into a GalleryError that names it."""
    try:
        yield
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise GalleryError(
            f"event {event.number} of the case is damaged or of another version "
            f"({type(error).__name__}: {error}); import an export of the case into a new one"
        ) from error


def last_decision(events: Sequence[CaseEvent], who: str | None) -> CaseEvent:
    """Return the last decision, by anyone or by ``who``, that was not undone. Raises GalleryError."""
    undone = {undone_by(event) for event in events}
    for event in reversed(events):
        if event.kind == "decide" and event.number not in undone and who in (None, event.who):
            return event
    by = "" if who is None else f" by {who or 'a person without a name'}"
    raise GalleryError(f"there is no decision{by} left to undo in this case")


def _pairs_found(body: Mapping[str, Any]) -> list[CasePair]:
    query = CasePicture(**body["query"])
    box, polygon = body["box"], body["polygon"]
    return [
        CasePair(
            id=pair_id(query.sha256, box, polygon, hit["sha256"]),
            query=query,
            box=None if box is None else (box[0], box[1], box[2], box[3]),
            polygon=None if polygon is None else tuple((x, y) for x, y in polygon),
            hit=CasePicture(hit["sha256"], hit["name"], hit.get("path")),
            similarity=hit["similarity"],
            probability=hit.get("probability"),
            rank=hit.get("rank"),
            method=body["method"],
            model=body["model"],
            fingerprint=body["fingerprint"],
            parameters=body["parameters"],
            metadata=hit.get("metadata", {}),
        )
        for hit in body["hits"]
    ]


def _with_decision_of(pair: CasePair, before: CasePair) -> CasePair:
    return replace(pair, note=before.note, tags=before.tags, who=before.who, when=before.when)


def _decided(pair: CasePair, event: CaseEvent) -> CasePair:
    changes = dict(event.body["set"])
    if "verdict" in changes and changes["verdict"] == UNDECIDED:
        changes["verdict"] = None
    if "tags" in changes:
        changes["tags"] = tuple(changes["tags"])
    origin = event.body.get("origin", {})  # of a decision that was imported
    who, when = origin.get("who", event.who), origin.get("when", event.time)
    seen = event.body.get("seen") or pair.seen
    return replace(pair, **changes, who=who, when=when, seen=seen)


def _picture_values(picture: CasePicture) -> dict[str, Any]:
    return {"sha256": picture.sha256, "name": picture.name, "path": picture.path}
