"""A case: queries, what was found for them, and what people decided about each pair."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from lookalike.errors import GalleryError, check_name
from lookalike.gallery.cases.log import CaseEvent, CaseLog, NewEvent
from lookalike.gallery.cases.pairs import (
    CASE_VERDICTS,
    UNDECIDED,
    CaseFold,
    CasePair,
    CasePicture,
    CaseVerdict,
    Found,
    last_decision,
    rounded_box,
    rounded_polygon,
)
from lookalike.gallery.files import absolute
from lookalike.gallery.query import Query
from lookalike.gallery.regions import Box, Polygon
from lookalike.gallery.results import SearchResult
from lookalike.images import file_bytes
from lookalike.store import record_id
from lookalike.types.html import table_html

CASE_FOLDER = "cases"  # inside the folder of a gallery
_SUFFIX = ".sqlite"
_NAME = re.compile(r"\w[\w .-]{0,79}")
_LONGEST_FILE_NAME = 240  # bytes; systems allow 255, and files beside it have longer names
LONGEST_NOTE, LONGEST_NAME, LONGEST_TAG, MOST_TAGS = 4000, 80, 60, 30  # characters; tags


@final
class CaseFile:
    """What people decided about pairs of pictures; see ``Gallery.case``.

    Everything is an event that is added and never changed; the pairs are what the events leave. A method
    that writes returns when its event is on the disk. Methods may be called by several threads, and
    several processes may open one case.
    """

    def __init__(self, file: Path, *, model: str, fingerprint: str) -> None:
        self.file = file
        self._log, self._fold = CaseLog(file), CaseFold()
        self._model, self._fingerprint = model, fingerprint
        if not self._log.create():
            self._log.check()

    @property
    def name(self) -> str:
        """The name of the case."""
        return self.file.name.removesuffix(_SUFFIX)

    @property
    def created(self) -> str:
        """When the case was created: UTC, ISO 8601."""
        return self._log.about().get("created", "")

    def _repr_html_(self) -> str:
        """Return a row for each of the first 50 pairs, for notebooks."""
        rows = (
            (pair.query.name, pair.hit.name, _shown(pair.similarity), pair.verdict or "undecided", pair.note)
            for pair in self.decisions()[:50]
        )
        return table_html(repr(self), ("query", "hit", "similarity", "verdict", "note"), rows)

    def __repr__(self) -> str:
        pairs = self.decisions()
        n = sum(pair.verdict is not None for pair in pairs)
        return f"CaseFile({self.name!r}, {n} of {len(pairs)} pairs decided)"

    # --- what is looked at --------------------------------------------------------------------

    def add(
        self,
        hits: SearchResult,
        picture: str | Path | bytes | None = None,
        *,
        name: str | None = None,
        parameters: Mapping[str, Any] | None = None,
        who: str = "",
    ) -> list[CasePair]:
        """Add a search's query and hits, as pairs to be decided, and return these in their order.

        ``picture`` is the query's file or its bytes, which the case keeps, so that it can be handed over;
        None for a query that is an image of the gallery. ``name`` replaces the file's name.
        ``parameters`` are those of the search, JSON types. Raises ValueError for a query that is not one
        picture and for another picture than the query.
        """
        if hits.query.id is None:
            raise ValueError("a case takes searches with one picture; query with a file, its bytes or an id")
        query = hits.query
        found = Found(
            self._query_picture(query, picture, name),
            None if query.region is None else query.region.box,
            None if query.region is None else query.region.polygon,
            hits.method,
            self._model,
            self._fingerprint,
            parameters or {},
            [
                {
                    "sha256": hit.record.hash,
                    "name": hit.path.name,
                    "path": hit.record.path,
                    "similarity": hit.similarity,
                    "probability": hit.probability,
                    "rank": hit.rank,
                    "metadata": dict(hit.metadata),
                }
                for hit in hits
            ],
        )
        return self.add_found(found, who=who)

    def add_found(self, found: Found, *, who: str = "") -> list[CasePair]:
        """Add what a search found, and return its pairs in the order of its hits."""
        self._log.append(lambda _: [NewEvent("search", found.to_dict())], who=_name_of(who))
        pairs = self._fold.pairs(self._log.events())
        return [pairs[id] for id in found.pair_ids()]

    def keep_picture(self, data: bytes, name: str) -> CasePicture:
        """Keep a query picture in the case, and return what it is called there."""
        sha256 = hashlib.sha256(data).hexdigest()
        self._log.keep_picture(sha256, name, data)
        return CasePicture(sha256, name)

    def picture(self, sha256: str) -> tuple[str, bytes] | None:
        """Return name and bytes of a kept query by its SHA-256 or the start of it; None if it isn't kept."""
        return self._log.picture(sha256)

    def _query_picture(
        self, query: Query, source: str | Path | bytes | None, name: str | None
    ) -> CasePicture:
        if source is None:
            if query.record is None:
                raise ValueError("the query is no image of the gallery; give its file or bytes as picture")
            record = query.record
            return CasePicture(record.hash, name or Path(record.path).name, record.path)
        path = None if isinstance(source, bytes) else Path(source)
        data = source if isinstance(source, bytes) else file_bytes(source)
        if record_id(hashlib.sha256(data).hexdigest()) != query.id:
            raise ValueError("the picture is not the query of these hits; give the same file")
        kept = self.keep_picture(data, name or (query.reading.picture.name if path is None else path.name))
        return CasePicture(kept.sha256, kept.name, None if path is None else absolute(path))

    # --- what is decided ----------------------------------------------------------------------

    def decide(
        self,
        pair: CasePair | str,
        verdict: str | None = None,
        *,
        note: str | None = None,
        tags: Sequence[str] | None = None,
        who: str = "",
        seen: str = "",
    ) -> CasePair:
        """Set a pair's verdict, note or tags, and return the pair; what is None stays as it was.

        ``verdict`` is "same", "different" or "unsure"; "undecided" takes it back. ``seen`` says in words
        which map was seen. Raises UnknownNameError for another verdict, GalleryError for a pair that is
        not in the case, and ValueError for texts that are too long and for no change at all.
        """
        id = pair if isinstance(pair, str) else pair.id
        changes = _checked_changes(verdict, note, tags)
        body = {"pair": id, "set": changes, "seen": seen[:LONGEST_NOTE]}

        def make(events: Sequence[CaseEvent]) -> list[NewEvent]:
            if id not in self._fold.pairs(events):
                raise GalleryError(f"the case {self.name!r} has no pair {id!r}; list them with decisions()")
            return [NewEvent("decide", body)]

        self._log.append(make, who=_name_of(who))
        return self._fold.pairs(self._log.events())[id]

    def undo(self, who: str | None = None) -> CasePair:
        """Take back the last decision, of anyone or of ``who``, and return the pair as it is then.

        The decision and its undoing both stay in the history. Calling it again goes one step further back.
        Raises GalleryError if there is nothing to undo.
        """
        undone: list[str] = []

        def make(events: Sequence[CaseEvent]) -> list[NewEvent]:
            last = last_decision(events, who)
            undone.append(last.body["pair"])
            return [NewEvent("undo", {"undoes": last.number, "pair": last.body["pair"]})]

        self._log.append(make, who=_name_of(who or ""))
        return self._fold.pairs(self._log.events())[undone[0]]

    def decisions(
        self, verdict: str | None = None, *, who: str | None = None, tag: str | None = None
    ) -> list[CasePair]:
        """Return the pairs, those found first first; all, or those with this verdict, person and tag.

        "undecided" means those without a verdict. Raises UnknownNameError for another verdict.
        """
        if verdict is not None:
            check_name("verdict", verdict, (*CASE_VERDICTS, UNDECIDED))
        wanted = None if verdict == UNDECIDED else verdict
        return [
            pair
            for pair in self._fold.pairs(self._log.events()).values()
            if (verdict is None or pair.verdict == wanted)
            and (who is None or pair.who == who)
            and (tag is None or tag in pair.tags)
        ]

    def history(self) -> list[CaseEvent]:
        """Return every event, oldest first: searches, decisions, and what was undone."""
        return self._log.events()

    def examples(
        self, query: str, box: Box | None = None, polygon: Polygon | None = None
    ) -> dict[str, list[str]]:
        """Return the record ids of hits that are the same as a query or region, and of those that differ.

        ``query`` is the SHA-256 of its file, or the start of it, such as a record's id. The result fits
        ``Gallery.search(..., **examples)``.
        """
        found: dict[str, list[str]] = {"liked": [], "disliked": []}
        kinds = {"same": found["liked"], "different": found["disliked"]}
        region = rounded_box(box), rounded_polygon(polygon)
        for pair in self.decisions():
            mine = pair.query.sha256.startswith(query) and pair.is_of_region(*region)
            if mine and pair.verdict in kinds:
                kinds[pair.verdict].append(pair.hit.id)
        return found

    def import_decisions(self, pairs: Sequence[CasePair], *, who: str = "") -> int:
        """Add pairs with what was decided about them elsewhere, and return how many changed here.

        A decision keeps who made it and when; the event says who imported it. What is the same
        already is left out, so that importing twice changes nothing.
        """
        changed: list[str] = []

        def make(events: Sequence[CaseEvent]) -> list[NewEvent]:
            here = self._fold.pairs(events)
            new: list[NewEvent] = []
            for pair in pairs:
                before = here.get(pair.id)
                if before is None:
                    new.append(NewEvent("search", _found_of(pair).to_dict()))
                if (set_ := _difference(before, pair)) or before is None:
                    changed.append(pair.id)
                if set_:
                    origin = {"who": pair.who, "when": pair.when}
                    new.append(
                        NewEvent(
                            "decide", {"pair": pair.id, "set": set_, "seen": pair.seen, "origin": origin}
                        )
                    )
            return new

        self._log.append(make, who=_name_of(who))
        return len(changed)


def case_path(folder: Path, name: str) -> Path:
    """Return the file of the case with this name beside a gallery. Raises ValueError for an unfit name."""
    if not _is_fit(name):
        raise ValueError(
            "a case's name has up to 80 letters, digits, spaces, '-', '_' and '.', and starts with a letter "
            f"or digit; got {name!r}"
        )
    return folder / CASE_FOLDER / f"{name}{_SUFFIX}"


def _is_fit(name: str) -> bool:
    n_bytes = len(name.encode(errors="replace"))
    return bool(_NAME.fullmatch(name)) and name == name.strip() and n_bytes <= _LONGEST_FILE_NAME


def case_names(folder: Path) -> list[str]:
    """Return the names of the cases beside a gallery, sorted; other files are none, whatever they hold."""
    found = [file for file in (folder / CASE_FOLDER).glob(f"*{_SUFFIX}") if file.is_file()]
    names = [file.name.removesuffix(_SUFFIX) for file in found]
    return sorted(name for name in names if _is_fit(name))


def _checked_changes(verdict: str | None, note: str | None, tags: Sequence[str] | None) -> dict[str, Any]:
    changes: dict[str, Any] = {}
    if verdict is not None:
        check_name("verdict", verdict, (*CASE_VERDICTS, UNDECIDED))
        changes["verdict"] = verdict
    if note is not None:
        if len(note) > LONGEST_NOTE:
            raise ValueError(f"a note has up to {LONGEST_NOTE:,} characters, got {len(note):,}; shorten it")
        changes["note"] = note
    if tags is not None:
        kept = list(dict.fromkeys(tag.strip() for tag in tags if tag.strip()))
        if isinstance(tags, str) or len(kept) > MOST_TAGS or any(len(tag) > LONGEST_TAG for tag in kept):
            raise ValueError(
                f"tags are a list of up to {MOST_TAGS} words, each of up to {LONGEST_TAG} characters; "
                f"got {tags!r:.200}"
            )
        changes["tags"] = kept
    if not changes:
        raise ValueError("nothing to decide: give a verdict, a note or tags")
    for text in (changes.get("note", ""), *changes.get("tags", ())):
        _check_text(text)
    return changes


def _check_text(text: str) -> None:
    """Raise ValueError for halves of surrogate pairs, which no file can hold."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"{text!r:.100} holds half a character, which can't be stored") from error


def _shown(similarity: float | None) -> str:
    return "" if similarity is None else f"{similarity:z.3f}"


def _name_of(who: str) -> str:
    if len(who) > LONGEST_NAME:
        raise ValueError(f"a person's name has up to {LONGEST_NAME} characters, got {len(who)}; shorten it")
    _check_text(who)
    return who.strip()


def _found_of(pair: CasePair) -> Found:
    hit = {
        "sha256": pair.hit.sha256,
        "name": pair.hit.name,
        "path": pair.hit.path,
        "similarity": pair.similarity,
        "probability": pair.probability,
        "rank": pair.rank,
        "metadata": dict(pair.metadata),
    }
    return Found(
        pair.query, pair.box, pair.polygon, pair.method, pair.model, pair.fingerprint, pair.parameters, [hit]
    )


def _difference(before: CasePair | None, pair: CasePair) -> dict[str, Any]:
    """What a decision from elsewhere changes here; undecided and empty from there change nothing."""
    changes: dict[str, Any] = {}
    if pair.verdict is not None and (before is None or before.verdict != pair.verdict):
        changes["verdict"] = pair.verdict
    if pair.note and (before is None or before.note != pair.note):
        changes["note"] = pair.note
    if pair.tags and (before is None or before.tags != pair.tags):
        changes["tags"] = list(pair.tags)
    return changes


__all__ = ["CASE_FOLDER", "CaseFile", "CaseVerdict", "case_names", "case_path"]
