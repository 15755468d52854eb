"""HPatches: sequences of one scene, with the homography from the first image to each other."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lookalike.datasets.jsons import finite_numbers
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import name_in, source_name
from lookalike.datasets.pairs.pair import ImagePair, KnownImage
from lookalike.datasets.texts import read_text
from lookalike.errors import DatasetError
from lookalike.images import IMAGE_SUFFIXES
from lookalike.types import FloatArray

_SUFFIXES = sorted(IMAGE_SUFFIXES)


def is_hpatches(source: Path) -> bool:
    """Whether it is a sequence, or holds sequences, with a file H_1_k."""
    return any(source.glob("H_1_*")) or any(source.glob("*/H_1_*"))


def read_sequence_pairs(source: Path) -> Candidates:
    """Pairs (1, k) of each sequence: a folder with ``1.ppm`` (or .jpg, ...), ``k.ppm`` and ``H_1_k``.

    A pair of which an image or the homography is absent is left out. ``H_1_k`` is a text of 3 x 3 numbers
    that takes pixels (x, y, 1) of image 1 to those of image k. Balntas et al., CVPR 2017.
    """
    matches: dict[str, list[str]] = {}
    files: dict[tuple[str, str], Path] = {}
    for file in sorted([*source.glob("H_1_*"), *source.glob("*/H_1_*")]):
        first, other = _image(file.parent, "1"), _image(file.parent, file.name.removeprefix("H_1_"))
        if first is None or other is None:
            continue
        query, match = name_in(source, first), name_in(source, other)
        matches.setdefault(query, []).append(match)
        files[query, match] = file
    title = source_name(source)

    def known(name: str) -> KnownImage:
        return KnownImage(source / name, (source / name).resolve().parent.name)

    def pair(query: str, match: str) -> ImagePair:
        return ImagePair(known(query), known(match), title, _homography(files[query, match]), root=source)

    return Candidates(matches, {}, pair)


def _image(folder: Path, stem: str) -> Path | None:
    return next((path for suffix in _SUFFIXES if (path := folder / (stem + suffix)).is_file()), None)


def _homography(file: Path) -> FloatArray:
    return homography_of(read_text(file).split(), str(file))


def homography_of(numbers: list[str], what: str) -> FloatArray:
    """The (3, 3) homography of nine numbers, row by row. Raises DatasetError, which begins with ``what``."""
    matrix = np.array(finite_numbers(numbers, 9, what), dtype=np.float64).reshape(3, 3)
    if np.linalg.matrix_rank(matrix) < 3:
        raise DatasetError(f"{what} is no homography: its matrix can't be inverted; repair it")
    return matrix.astype(np.float32)
