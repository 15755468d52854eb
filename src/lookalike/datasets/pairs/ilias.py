"""ILIAS: photographs of particular objects with their boxes, for instance-level retrieval."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lookalike.datasets.jsons import box_of_size, read_json
from lookalike.datasets.listed import fields_of_lines
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import name_in, source_name
from lookalike.datasets.pairs.masked import images_below
from lookalike.datasets.pairs.pair import ImagePair, KnownImage
from lookalike.errors import DatasetError


def is_ilias(source: Path) -> bool:
    """Whether some folder in it has the subfolders query and pos."""
    return any((query.parent / "pos").is_dir() for query in source.glob("*/query"))


def read_ilias_pairs(source: Path) -> Candidates:
    """Pairs of a query and a positive image of the same object, in the layout of ``ilias_core``.

    ``OBJECT/query/Qxxx_yy.jpg`` and ``OBJECT/pos/Pxxx_zz.jpg``, each beside its boxes: lines of left, top,
    width and height in ``Qxxx_yy_bbox.txt``, or a list of them in ``Qxxx_yy.bbox.json``, as the shards
    have it. Several boxes become the one around all, as the authors crop. Kordopatis-Zilos et al.,
    CVPR 2025.
    """
    matches: dict[str, list[str]] = {}
    for query_folder in sorted(source.glob("*/query")):
        positives = [name_in(source, path) for path in images_below(query_folder.parent / "pos")]
        matches |= {name_in(source, path): positives for path in images_below(query_folder)}
    title = source_name(source)

    def known(name: str) -> KnownImage:
        return KnownImage(source / name, _object(name), box=_box(source / name))

    return Candidates(
        matches,
        {name: _object(name) for name in matches},
        lambda query, match: ImagePair(known(query), known(match), title, root=source),
    )


def _object(name: str) -> str:
    return name.split("/", 1)[0]


def _box(image: Path) -> tuple[float, float, float, float]:
    lines, shard = image.with_name(f"{image.stem}_bbox.txt"), image.with_suffix(".bbox.json")
    file = lines if lines.exists() else shard
    if not file.exists():
        raise DatasetError(f"{image} has no boxes: neither {lines.name} nor {shard.name} is beside it")
    rows: Sequence[object] = list(fields_of_lines(lines, 4)) if file == lines else read_json(shard)
    if not isinstance(rows, list) or not rows:
        raise DatasetError(f"{file} lists no boxes, each as left, top, width and height; fetch it again")
    boxes = [box_of_size(row, f"{file}: box {number}") for number, row in enumerate(rows, start=1)]
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)
