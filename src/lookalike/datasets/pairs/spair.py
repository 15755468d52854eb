"""SPair-71k: pairs of the same category with corresponding keypoints and boxes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from lookalike.datasets.jsons import box_of_corners, finite_numbers, read_json
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import listed_file, source_name
from lookalike.datasets.pairs.pair import ImagePair, KnownImage
from lookalike.errors import DatasetError

PAIR_ANNOTATIONS = "PairAnnotation"

# 000001-2008_002719-2008_004100:aeroplane.json; unpacked on Windows, the colon is an underscore.
_FILE_NAME = re.compile(r"\d+-(?P<query>[^-]+)-(?P<match>[^-]+?)[:_](?P<category>[a-z]+)\.json")


def read_spair_pairs(source: Path) -> Candidates:
    """Pairs of the test split of SPair-71k (else val, else trn), as it was published.

    ``PairAnnotation/SPLIT/N-A-B:CATEGORY.json`` has src_imname, trg_imname, category, src_bndbox and
    trg_bndbox (left, top, right, bottom), src_kps and trg_kps (x, y) and kps_ids; images lie in
    ``JPEGImages/CATEGORY``. Parts are named by their keypoint's number, and only those that both images
    show are annotated. Min et al., arXiv:1908.10543.
    """
    folder = next(
        (f for split in ("test", "val", "trn") if (f := source / PAIR_ANNOTATIONS / split).is_dir()), None
    )
    if folder is None:
        raise DatasetError(f"{source / PAIR_ANNOTATIONS} has none of the folders test, val and trn")
    files: dict[tuple[str, str], Path] = {}
    matches: dict[str, list[str]] = {}
    classes: dict[str, str] = {}
    for file in sorted(folder.glob("*.json")):
        found = _FILE_NAME.fullmatch(file.name)
        if found is None:
            raise DatasetError(f"{file} is not named as N-IMAGE-IMAGE:CATEGORY.json; unpack SPair-71k again")
        query, match = (f"{found['category']}/{found[side]}" for side in ("query", "match"))
        files[query, match] = file
        matches.setdefault(query, []).append(match)
        classes[query] = found["category"]
    title = source_name(source)

    def pair(query: str, match: str) -> ImagePair:
        file = files[query, match]
        entry = read_json(file)
        if not isinstance(entry, Mapping):
            raise DatasetError(f"{file} holds no object of a pair; unpack SPair-71k again")
        return ImagePair(
            _known(source, entry, "src", file), _known(source, entry, "trg", file), title, root=source
        )

    return Candidates(matches, classes, pair)


def _known(source: Path, entry: Mapping[str, object], side: str, file: Path) -> KnownImage:
    keys = ("category", f"{side}_imname", f"{side}_bndbox", f"{side}_kps", "kps_ids")
    if missing := [key for key in keys if key not in entry]:
        raise DatasetError(f"{file} has no {', '.join(missing)}; unpack SPair-71k again")
    category, name, box, points, numbers = (entry[key] for key in keys)
    if not isinstance(points, list) or not isinstance(numbers, list) or len(points) != len(numbers):
        raise DatasetError(f"{file}: {side}_kps and kps_ids are not two lists of one length")
    corners = [finite_numbers(point, 2, f"{file}: a point of {side}_kps") for point in points]
    return KnownImage(
        listed_file(source / "JPEGImages" / str(category) / str(name), file),
        str(category),
        box=box_of_corners(box, f"{file}: {side}_bndbox"),
        parts={str(number): (x, y) for number, (x, y) in zip(numbers, corners, strict=True)},
    )
