"""A case as JSON, to be imported elsewhere, and its cosines, to calibrate with."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lookalike.errors import GalleryError
from lookalike.gallery.cases.case_file import CaseFile
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
        except (ValueError, RecursionError) as error:
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
        query, hit = (_picture(values[side]) for side in ("query", "hit"))
        box, polygon = rounded_box(values.get("box")), rounded_polygon(values.get("polygon"))
        verdict = values.get("verdict")
        if verdict is not None and verdict not in CASE_VERDICTS:
            raise ValueError(f"the verdict {verdict!r} is none of {', '.join(CASE_VERDICTS)}")
        pair = CasePair(
            id=pair_id(query.sha256, box, polygon, hit.sha256),
            query=query,
            box=None if box is None else (box[0], box[1], box[2], box[3]),
            polygon=None if polygon is None else tuple((x, y) for x, y in polygon),
            hit=hit,
            similarity=float(values["similarity"]),
            probability=_number(values.get("probability")),
            rank=None if values.get("rank") is None else int(values["rank"]),
            parameters=dict(values.get("parameters") or {}),
            metadata=dict(values.get("metadata") or {}),
            verdict=verdict,
            tags=tuple(str(tag) for tag in values.get("tags") or ()),
            **{name: str(values.get(name) or "") for name in _TEXTS},
        )
        pair.region  # noqa: B018 - raises for a box that is none
        return pair
    except (KeyError, TypeError, ValueError, IndexError) as error:
        reason = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise GalleryError(f"pair {index + 1} of the case is not as documented: {reason}") from error


_TEXTS = ("note", "who", "when", "seen", "method", "model", "fingerprint")


def _picture(values: Any) -> CasePicture:
    sha256 = str(values["sha256"])
    if len(sha256) != 64 or set(sha256) - set("0123456789abcdef"):
        raise ValueError(f"a SHA-256 has 64 hexadecimal digits, got {sha256!r:.80}")
    path = values.get("path")
    return CasePicture(sha256, str(values["name"]), None if path is None else str(path))


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


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
