"""Revisited Oxford and Paris: queries with their box, and matches, outlined in PROxford and PRParis."""

from __future__ import annotations

from pathlib import Path

from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import listed_file, source_name
from lookalike.datasets.pairs.pair import ImagePair, KnownImage
from lookalike.datasets.pickles import read_pickled_array
from lookalike.datasets.revisited import find_images, read_truth
from lookalike.errors import DatasetError

OUTLINES = "*_pair2labelpath.npy"


def truth_files(source: Path) -> list[Path]:
    """The files of ground truth, gnd_*.pkl or gnd_*.json, that lie in a folder."""
    return sorted([*source.glob("gnd_*.pkl"), *source.glob("gnd_*.json")])


def read_landmark_pairs(source: Path) -> Candidates:
    """Pairs of a query and an easy or hard match of it.

    ``source`` is the ground truth (see `read_truth`), or a folder that holds one such file ``gnd_*``; the
    images lie anywhere below its folder. If ``oxford_pair2labelpath.npy`` or that of Paris is beside it,
    matches have the outlines of PROxford and PRParis: it maps "query_row" to a labelme file, whose path
    starts at the same folder. Radenović et al., CVPR 2018; An et al., ICCV 2023.
    """
    file = _truth_in(source) if source.is_dir() else source
    truth = read_truth(file)
    if not truth.queries or not truth.images:
        raise DatasetError(f"{file} does not name its images (qimlist and imlist); give the published file")
    outlines = _outlines(file.parent)
    number_of = {name: number for number, name in enumerate(truth.queries)}
    row_of = {name: row for row, name in enumerate(truth.images)}
    matches = {
        query: [truth.images[row] for row in (*truth.easy[i], *truth.hard[i])]
        for query, i in number_of.items()
    }
    needed = sorted({name for query, names in matches.items() for name in (query, *names)})
    path_of = dict(zip(needed, find_images(needed, file.parent), strict=True))
    title = truth.name if source.is_file() else source_name(source)

    def pair(query: str, match: str) -> ImagePair:
        i, row = number_of[query], row_of[match]
        outline = outlines.get(f"{i}_{row}")
        mask = None if outline is None else listed_file(file.parent / outline, file.parent / OUTLINES)
        return ImagePair(
            KnownImage(path_of[query], box=truth.boxes[i]),
            KnownImage(path_of[match], mask=mask),
            title,
            root=file.parent,
        )

    return Candidates(matches, {}, pair)


def _outlines(folder: Path) -> dict[str, str]:
    files = sorted(folder.glob(OUTLINES))
    if not files:
        return {}
    if len(files) > 1:
        raise DatasetError(f"{folder} holds {len(files)} files {OUTLINES}; keep that of its ground truth")
    file = files[0]
    content = read_pickled_array(file)
    if not isinstance(content, dict):
        raise DatasetError(f"{file} holds no dict from pairs 'query_row' to files of outlines")
    return {str(pair): str(path) for pair, path in content.items()}


def _truth_in(folder: Path) -> Path:
    files = truth_files(folder)
    if len(files) != 1:
        names = ", ".join(file.name for file in files) or "none"
        raise DatasetError(f"{folder} holds {len(files)} files of ground truth ({names}); give one of them")
    return files[0]
