"""Reading pairs of matching images by the path of their data; the layout is recognized by its files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from lookalike.datasets import cub
from lookalike.datasets.pairs import (
    birds,
    ilias,
    labels,
    landmarks,
    masked,
    retrieval,
    sequences,
    spair,
    table,
)
from lookalike.datasets.pairs.drawing import Candidates, draw_pairs
from lookalike.datasets.pairs.pair import ImagePair
from lookalike.datasets.tables import TABLE_SUFFIXES
from lookalike.errors import DatasetError, check_name

PAIR_LAYOUTS: Mapping[str, Callable[[Path], Candidates]] = {
    "pairs": table.read_pair_table,
    "masks": masked.read_masked_pairs,
    "retrieval": retrieval.read_retrieval_pairs,
    "annotations": birds.read_annotated_pairs,
    "cub": birds.read_cub_pairs,
    "spair": spair.read_spair_pairs,
    "ilias": ilias.read_ilias_pairs,
    "revisited": landmarks.read_landmark_pairs,
    "hpatches": sequences.read_sequence_pairs,
    "labels": labels.read_labeled_pairs,
}


def read_pairs(data: str | Path, *, limit: int, seed: int = 0, layout: str = "auto") -> tuple[ImagePair, ...]:
    """At most ``limit`` pairs of matching images, drawn by the seed, with what the data knows of them.

    ``layout`` is one of ``PAIR_LAYOUTS``, or auto. The draw depends on names and seed, not on where the
    data lies or in which order files are found; it is spread over classes, and each image is a query once
    before any is twice. Opens no image. Raises DatasetError in one sentence for data that is missing,
    holds no pair or has a malformed annotation; ValueError for an unknown layout and a limit below 1.
    """
    if limit < 1:
        raise ValueError(f"limit is a number of pairs, 1 or more; got {limit}")
    if layout != "auto":
        check_name("layout", layout, ("auto", *PAIR_LAYOUTS))
    source = Path(data)
    if not source.exists():
        raise DatasetError(f"there is no data at {source}; check the path")
    name = pair_layout_of(source) if layout == "auto" else layout
    pairs = draw_pairs(PAIR_LAYOUTS[name](source), limit, seed)
    if not pairs:
        raise DatasetError(f"{source} holds no two images that match, read in the layout {name!r}")
    return pairs


def pair_layout_of(source: Path) -> str:
    """Recognize the layout of pairs by its files, and return its name."""
    if source.is_file():
        return _layout_of_file(source)
    images = (source / "images").is_dir()
    signs = {
        "pairs": (source / table.PAIR_TABLE).is_file(),
        "spair": (source / spair.PAIR_ANNOTATIONS).is_dir(),
        "hpatches": sequences.is_hpatches(source),
        "revisited": bool(landmarks.truth_files(source)),
        "retrieval": (source / "queries").is_dir() and (source / "gallery").is_dir(),
        "annotations": images and (source / birds.ANNOTATIONS).is_file(),
        "cub": (source / cub.IMAGES).is_file() and (source / cub.LABELS).is_file(),
        "masks": images and (source / "masks").is_dir(),
        "ilias": ilias.is_ilias(source),
    }
    return next((name for name, found in signs.items() if found), "labels")


def _layout_of_file(file: Path) -> str:
    if file.suffix.lower() in TABLE_SUFFIXES:
        return "pairs" if table.is_pair_table(file) else "labels"
    if file.suffix.lower() in (".pkl", ".json"):
        return "revisited"
    raise DatasetError(
        f"{file} is neither a table ({', '.join(TABLE_SUFFIXES)}) nor ground truth (.pkl, .json); "
        "give a folder"
    )
