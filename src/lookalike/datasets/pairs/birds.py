"""Labeled images with boxes and parts: CUB-200-2011, and images/ beside an annotations.json."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lookalike.datasets import cub
from lookalike.datasets.jsons import box_of_size, finite_numbers, read_json
from lookalike.datasets.listed import fields_of_lines, listed_images
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import of_equal_label, read_evaluated_split
from lookalike.datasets.pairs.pair import KnownImage
from lookalike.errors import DatasetError

BOXES, PARTS, PART_LOCATIONS = "bounding_boxes.txt", "parts/parts.txt", "parts/part_locs.txt"
ANNOTATIONS = "annotations.json"

_Points = dict[str, tuple[float, float]]


def read_cub_pairs(source: Path) -> Candidates:
    """Pairs of the test classes of CUB-200-2011 (101 to 200), with the boxes and visible parts, if listed.

    ``bounding_boxes.txt`` has image, x, y, width, height; ``parts/part_locs.txt`` image, part, x, y,
    visible; ``parts/parts.txt`` part and name. Wah et al., CNS-TR-2011-001.
    """
    number_of = {source / "images" / path: image for image, path in fields_of_lines(source / cub.IMAGES, 2)}
    boxes = _boxes(source)
    parts = _parts(source)

    def known(path: Path, label: str) -> KnownImage:
        number = number_of[path]
        box = None
        if boxes is not None:
            box = box_of_size(boxes.get(number), f"{source / BOXES}: the box of image {number}")
        return KnownImage(path, label, box=box, parts=parts.get(number, {}))

    return of_equal_label(read_evaluated_split(source), source, known=known)


def _boxes(source: Path) -> dict[str, list[str]] | None:
    if not (source / BOXES).exists():
        return None
    return {image: numbers for image, *numbers in fields_of_lines(source / BOXES, 5)}


def _parts(source: Path) -> dict[str, _Points]:
    if not (source / PARTS).exists():
        return {}
    name_of = {number: name.strip() for number, name in fields_of_lines(source / PARTS, 2)}
    found: dict[str, _Points] = {}
    for image, number, *numbers in fields_of_lines(source / PART_LOCATIONS, 5):
        what = f"{source / PART_LOCATIONS}: part {number} of image {image}"
        x, y, visible = finite_numbers(numbers, 3, what)
        if number not in name_of:
            raise DatasetError(f"{what} has no name in {source / PARTS}; repair one of them")
        if visible:
            found.setdefault(image, {})[name_of[number]] = (x, y)
    return found


def read_annotated_pairs(source: Path) -> Candidates:
    """Pairs of equal class among ``images/``, with what ``annotations.json`` knows of each image.

    ``{"parts": [names], "images": {file: {"class", "box_xywh", "parts_xyv"}}}``: left, top, width, height
    of the box and x, y, visible of each part; ``parts``, ``box_xywh`` and ``parts_xyv`` may be absent.
    """
    file = source / ANNOTATIONS
    content = read_json(file)
    entries = content.get("images") if isinstance(content, Mapping) else None
    if not isinstance(entries, Mapping) or not entries:
        raise DatasetError(f"{file} holds no object 'images' of an entry for each image; see the docs")
    for name, entry in entries.items():
        if not isinstance(entry, Mapping) or not entry.get("class"):
            raise DatasetError(f"{file}: {name} has no 'class'; complete or remove it")
    name_of = {source / "images" / name: name for name in entries}
    data = listed_images(((path, str(entries[name]["class"])) for path, name in name_of.items()), file)

    def known(path: Path, label: str) -> KnownImage:
        name = name_of[path]
        entry = entries[name]
        box = entry.get("box_xywh")
        return KnownImage(
            path,
            label,
            box=None if box is None else box_of_size(box, f"{file}: box_xywh of {name}"),
            parts=_visible(entry.get("parts_xyv", []), content.get("parts"), f"{file}: parts_xyv of {name}"),
        )

    return of_equal_label(data, source, known=known)


def _visible(points: object, names: object, what: str) -> _Points:
    names = names if isinstance(names, list) else []
    if not isinstance(points, list) or len(points) not in (0, len(names)):
        raise DatasetError(
            f"{what} is no list of a point (x, y, visible) for each of the {len(names)} 'parts'"
        )
    numbers = [finite_numbers(point, 3, what) for point in points]
    return {str(name): (x, y) for name, (x, y, visible) in zip(names, numbers, strict=False) if visible}
