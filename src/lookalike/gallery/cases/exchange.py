"""A case as JSON, to be imported elsewhere, and its cosines, to calibrate with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lookalike.errors import GalleryError
from lookalike.gallery.cases.case_file import (
    LONGEST_NAME,
    LONGEST_NOTE,
    LONGEST_TAG,
    MOST_TAGS,
    CaseFile,
)
from lookalike.gallery.cases.pairs import (
    CASE_VERDICTS,
    CasePair,
    CasePicture,
    pair_id,
    rounded_box,
    rounded_polygon,
)
from lookalike.images import file_bytes

CASE_FORMAT, _VERSION = "lookalike-case", 1


def case_values(case: CaseFile, pairs: Sequence[CasePair] | None = None) -> dict[str, Any]:
    """Return a case, or some of its pairs, as JSON types; see docs/cases.md."""
    shown = case.decisions() if pairs is None else pairs
    return {
        "format": CASE_FORMAT,
        "version": _VERSION,
        "name": case.name,
        "created": case.created,
        "pairs": [pair.to_dict() for pair in shown],
    }


def read_case(source: str | Path | Mapping[str, Any]) -> list[CasePair]:
    """Return the pairs of an exported case: a JSON file, or the values read from one.

    Raises GalleryError for another format, and names the pair that is not as it should be.
    """
    values: Any = source
    if isinstance(source, str | Path):
        try:
            values = json.loads(file_bytes(source))
        except _ODD as error:
            raise GalleryError(f"{source} can't be read as JSON: {error}; export the case again") from error
    if not isinstance(values, Mapping) or values.get("format") != CASE_FORMAT:
        raise GalleryError(f'an exported case is JSON with "format": "{CASE_FORMAT}"; this is none')
    if values.get("version") != _VERSION:
        raise GalleryError(
            f"the case has version {values.get('version')!r} and this reads {_VERSION}; update lookalike"
        )
    pairs = values.get("pairs")
    if not isinstance(pairs, list):
        raise GalleryError("an exported case has a list of pairs; export it again")
    return [_pair(each, i) for i, each in enumerate(pairs)]


def _pair(values: Any, index: int) -> CasePair:
    try:
        json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
        query, hit = (_picture(values[side]) for side in ("query", "hit"))
        box, polygon = _region(values.get("box"), values.get("polygon"))
        verdict = values.get("verdict")
        if verdict is not None and verdict not in CASE_VERDICTS:
            raise ValueError(f"the verdict {verdict!r} is none of {', '.join(CASE_VERDICTS)}")
        pair = CasePair(
            id=pair_id(query.sha256, box, polygon, hit.sha256),
            query=query,
            box=None if box is None else (box[0], box[1], box[2], box[3]),
            polygon=None if polygon is None else tuple((x, y) for x, y in polygon),
            hit=hit,
            similarity=_number("similarity", values["similarity"], -1, 1),
            probability=_optional("probability", values.get("probability"), 0, 1),
            rank=_rank(values.get("rank")),
            parameters=_parameters(values.get("parameters")),
            metadata=_mapping("metadata", values.get("metadata")),
            verdict=verdict,
            tags=_tags(values.get("tags")),
            **{name: _text(name, values.get(name), most) for name, most in _TEXTS.items()},
        )
        pair.region  # noqa: B018 - raises for a box that is none
        return pair
    except _ODD as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise GalleryError(f"pair {index + 1} of the case is not as documented: {reason}") from error


_ODD = (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError, RecursionError)
_TEXTS = {  # and the most characters of each
    "note": LONGEST_NOTE, "who": LONGEST_NAME, "when": 80, "seen": LONGEST_NOTE, "method": 80, "model": 4000,
    "fingerprint": 200,
}  # fmt: skip
_MOST_CORNERS = 1000
_FARTHEST = 1e9  # pixels
_ROUNDING = 1e-3  # by which a cosine may be beyond 1


def _picture(values: Any) -> CasePicture:
    sha256 = values["sha256"]
    if not isinstance(sha256, str) or len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ValueError(f"a SHA-256 has 64 hexadecimal digits, got {sha256!r:.80}")
    path = values.get("path")
    name = _text("name", values["name"], 1000)
    return CasePicture(sha256, name, None if path is None else _text("path", path, 10_000))


def _text(name: str, value: Any, most: int) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or len(value) > most or "\0" in value:
        raise ValueError(f"{name} is a text of up to {most:,} characters, got {value!r:.80}")
    return value


def _number(name: str, value: Any, least: float, most: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{name} is a number, got {value!r:.80}")
    if not least - _ROUNDING <= value <= most + _ROUNDING:
        raise ValueError(f"{name} is a number from {least:g} to {most:g}, got {value!r:.80}")
    return min(most, max(least, float(value)))


def _optional(name: str, value: Any, least: float, most: float) -> float | None:
    return None if value is None else _number(name, value, least, most)


def _rank(value: Any) -> int | None:
    return None if value is None else int(_number("rank", value, 1, 2**53))


def _mapping(name: str, value: Any) -> dict[str, Any]:
    if value is not None and not isinstance(value, Mapping):
        raise ValueError(f"{name} is an object, got {value!r:.80}")
    return dict(value or {})


def _parameters(value: Any) -> dict[str, Any]:
    """The parameters of the search; its examples are lists of ids."""
    parameters = _mapping("parameters", value)
    for ids in _mapping("examples", parameters.get("examples")).values():
        if not isinstance(ids, list) or not all(isinstance(id, str) for id in ids):
            raise ValueError(f"examples are lists of ids, got {ids!r:.80}")
    return parameters


def _tags(value: Any) -> tuple[str, ...]:
    tags = [] if value is None else value
    if not isinstance(tags, list | tuple) or len(tags) > MOST_TAGS:
        raise ValueError(f"tags are a list of up to {MOST_TAGS} texts, got {value!r:.80}")
    return tuple(_text("a tag", tag, LONGEST_TAG) for tag in tags)


def _region(box: Any, polygon: Any) -> tuple[list[float] | None, list[list[float]] | None]:
    """A box and a polygon to a hundredth of a pixel; ValueError for what is none."""
    if box is not None:
        if len(box) != 4:
            raise ValueError(f"a box is four numbers, got {box!r:.80}")
        left, top, right, bottom = (_number("a box's side", side, -_FARTHEST, _FARTHEST) for side in box)
        if left >= right or top >= bottom:
            raise ValueError(f"a box is left, top, right, bottom, left < right and top < bottom; got {box}")
    if polygon is not None:
        if not 3 <= len(polygon) <= _MOST_CORNERS or any(len(corner) != 2 for corner in polygon):
            raise ValueError(f"a polygon is a list of 3 to {_MOST_CORNERS:,} corners (x, y)")
        for corner in polygon:
            for value in corner:
                _number("a corner's coordinate", value, -_FARTHEST, _FARTHEST)
    return rounded_box(box), rounded_polygon(polygon)


def decided_cosines(case: CaseFile, fingerprint: str) -> tuple[Tensor, Tensor]:
    """Return the cosines of pairs decided as the same (P,) and as different (N,), float32.

    Of whole pictures and without examples, by the model with this fingerprint: others are not the
    cosines that a calibration is for.
    """
    fitting = [pair for pair in case.decisions() if pair.is_plain and pair.fingerprint == fingerprint]
    same, different = (
        torch.tensor([pair.similarity for pair in fitting if pair.verdict == verdict], dtype=torch.float32)
        for verdict in ("same", "different")
    )
    return same, different
