"""What was decided in a case as labeled pictures: pairs to calibrate with, classes to train on."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from lookalike import images
from lookalike.errors import UnreadableImageError, replacing, writing
from lookalike.gallery.cases.case_file import CaseFile
from lookalike.gallery.cases.pairs import CasePair, CasePicture

_FOLDER = "pictures"  # of queries and of what regions of them show


@dataclass(frozen=True)
class LabeledCase:
    """Files written for a case: pairs, classes, and what could not be read."""

    pairs: Path  # CSV with columns a, b, match
    labels: Path  # CSV with columns path, label
    n_pairs: int
    n_labels: int  # pictures with a class that two or more share
    unreadable: tuple[str, ...]  # pairs left out because a file is gone or another one: names and reason


def write_labeled(case: CaseFile, folder: str | Path) -> LabeledCase:
    """Write pairs decided as same or different to a folder, for ``gallery calibrate`` and ``train``.

    Queries are written as files, those with a region as its crop (of a polygon: its box); hits stay
    where they lie, and so do queries that are hits as well. ``pairs.csv`` has the columns a, b and match;
    ``labels.csv`` a class for all pictures that are the same, directly or by others, unless two of them
    were decided as different.
    """
    folder = Path(folder)
    decided = [pair for pair in case.decisions() if pair.verdict in ("same", "different")]
    lies_at = {pair.hit.sha256: pair.hit.path for pair in decided if pair.hit.path}
    rows: list[tuple[str, str, bool]] = []
    gone: list[str] = []
    with writing(folder):
        (folder / _FOLDER).mkdir(parents=True, exist_ok=True)
    for pair in decided:
        try:
            match = _existing(pair)
            lies = replace(pair.query, path=lies_at.get(pair.query.sha256))
            query = lies.path if pair.region is None and _is_there(lies) else None
            rows.append((query or _written(case, pair, folder), match, pair.verdict == "same"))
        except UnreadableImageError as error:
            gone.append(f"{pair.query.name} and {pair.hit.name}: {error}")
    labels = _classes(rows)
    pairs_file, labels_file = folder / "pairs.csv", folder / "labels.csv"
    _write(pairs_file, [("a", "b", "match"), *((a, b, str(int(same))) for a, b, same in rows)])
    _write(labels_file, [("path", "label"), *labels])
    return LabeledCase(pairs_file, labels_file, len(rows), len(labels), tuple(gone))


def query_bytes(case: CaseFile, pair: CasePair) -> bytes:
    """Return the file of a pair's query, as kept or from where it lay.

    Raises UnreadableImageError, also for a file that is another one by now.
    """
    if (kept := case.picture(pair.query.sha256)) is not None:
        return kept[1]
    if pair.query.path is None:
        raise UnreadableImageError(f"{pair.query.name} is not kept in the case {case.name!r}")
    return _same_bytes(pair.query)


def _is_there(picture: CasePicture) -> bool:
    """Whether the file of a picture lies where it lay, with the same content."""
    try:
        return bool(_same_bytes(picture))
    except UnreadableImageError:
        return False


def _same_bytes(picture: CasePicture) -> bytes:
    """The file of a picture from where it lay. Raises UnreadableImageError unless it is still the same."""
    if picture.path is None or not images.is_there(picture.path):
        raise UnreadableImageError(f"{picture.name} is no longer where it was")
    data = images.file_bytes(picture.path)
    if hashlib.sha256(data).hexdigest() != picture.sha256:
        raise UnreadableImageError(f"{picture.name} is another file by now than what was decided about")
    return data


def _existing(pair: CasePair) -> str:
    _same_bytes(pair.hit)
    assert pair.hit.path is not None
    return pair.hit.path


def _written(case: CaseFile, pair: CasePair, folder: Path) -> str:
    """The path of a query's file, relative to the folder; it is written there unless it is there."""
    box = pair.box
    if pair.polygon is not None:
        xs, ys = zip(*pair.polygon, strict=True)
        box = min(xs), min(ys), max(xs), max(ys)
    data = query_bytes(case, pair)
    suffix = Path(pair.query.name).suffix or ".png"
    name = f"{pair.query.id}{suffix}"
    if box is not None:
        image = images.load(data, name=pair.query.name).image
        left, top, right, bottom = (round(side) for side in box)
        inside = max(0, left), max(0, top), min(image.width, right), min(image.height, bottom)
        if inside[0] >= inside[2] or inside[1] >= inside[3]:
            raise UnreadableImageError(f"the region lies outside of {pair.query.name}")
        crop = image.crop(inside)
        left, top, right, bottom = inside
        data, name = _png(crop), f"{pair.query.id}-{left}-{top}-{right}-{bottom}.png"
    file = folder / _FOLDER / name
    if not file.exists():
        with replacing(file) as beside:
            beside.write_bytes(data)
    return f"{_FOLDER}/{name}"


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, "PNG")
    return buffer.getvalue()


def _classes(rows: Sequence[tuple[str, str, bool]]) -> list[tuple[str, str]]:
    """Path and class of each picture that is the same as another, by chains of pairs."""
    leader: dict[str, str] = {}

    def find(path: str) -> str:
        leader.setdefault(path, path)
        while leader[path] != path:
            leader[path] = path = leader[leader[path]]
        return path

    for a, b, is_same in rows:
        if is_same:
            leader[find(a)] = find(b)
    apart = [(a, b) for a, b, is_same in rows if not is_same and a in leader and b in leader]
    torn = {find(a) for a, b in apart if find(a) == find(b)}
    names: dict[str, str] = {}
    return [
        (path, names.setdefault(find(path), f"thing {len(names) + 1}"))
        for path in sorted(leader)
        if find(path) not in torn
    ]


def _write(file: Path, rows: Sequence[Sequence[str]]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with replacing(file) as beside:
        beside.write_text(text.getvalue(), encoding="utf-8")
