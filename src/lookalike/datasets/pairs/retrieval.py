"""Queries and a gallery, with the relevant images of each query and masks of some."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from lookalike.datasets.jsons import read_json
from lookalike.datasets.pairs.drawing import Candidates
from lookalike.datasets.pairs.labels import listed_file, source_name
from lookalike.datasets.pairs.masked import images_below, masks_by_stem, stem_in
from lookalike.datasets.pairs.pair import ImagePair, KnownImage
from lookalike.errors import DatasetError

RELEVANT = "relevant.json"


def read_retrieval_pairs(source: Path) -> Candidates:
    """Pairs of an image in ``queries/`` and one in ``gallery/`` that is relevant for it.

    ``relevant.json`` maps the name of each query to a list of names in the gallery; without it,
    subfolders of equal name match. ``masks/`` may hold masks of queries and gallery images, or
    ``masks/queries/`` and ``masks/gallery/``; a name that both have is the query's.
    """
    queries, gallery = source / "queries", source / "gallery"
    relevant = _listed(source) if (source / RELEVANT).exists() else _of_equal_folder(queries, gallery)
    masks_of_queries, masks_of_gallery = _masks(source)
    title = source_name(source)

    def known(folder: Path, name: str, masks: Mapping[str, Path]) -> KnownImage:
        path = listed_file(folder / name, source / RELEVANT)
        label = "" if (source / RELEVANT).exists() else _folder(name)
        return KnownImage(path, label, masks.get(stem_in(folder, path)))

    def pair(query: str, match: str) -> ImagePair:
        return ImagePair(
            known(queries, query.removeprefix("queries/"), masks_of_queries),
            known(gallery, match.removeprefix("gallery/"), masks_of_gallery),
            title,
            root=source,
        )

    return Candidates(
        {f"queries/{name}": [f"gallery/{match}" for match in matches] for name, matches in relevant.items()},
        {f"queries/{name}": "" if (source / RELEVANT).exists() else _folder(name) for name in relevant},
        pair,
    )


def _listed(source: Path) -> dict[str, list[str]]:
    file = source / RELEVANT
    content = read_json(file)
    if not isinstance(content, Mapping):
        raise DatasetError(f"{file} is no object that maps the name of a query to a list of gallery names")
    for query, names in content.items():
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise DatasetError(f"{file}: {query!r} has {names!r:.100}, not a list of names in the gallery")
    return dict(content)


def _of_equal_folder(queries: Path, gallery: Path) -> dict[str, list[str]]:
    in_folder: dict[str, list[str]] = {}
    for path in images_below(gallery):
        name = path.relative_to(gallery).as_posix()
        in_folder.setdefault(_folder(name), []).append(name)
    names = [path.relative_to(queries).as_posix() for path in images_below(queries)]
    if "" in in_folder or not all(map(_folder, names)):
        raise DatasetError(
            f"{queries.parent} has no {RELEVANT}, and not all of its images lie in subfolders; write which "
            "gallery images are relevant for each query, or put images that match into subfolders of one name"
        )
    return {name: in_folder.get(_folder(name), []) for name in names}


def _folder(name: str) -> str:
    parent = PurePosixPath(name).parent.as_posix()
    return "" if parent == "." else parent


def _masks(source: Path) -> tuple[dict[str, Path], dict[str, Path]]:
    masks = source / "masks"
    if not masks.is_dir():
        return {}, {}
    stems = {
        side: {stem_in(source / side, path) for path in images_below(source / side)}
        for side in ("queries", "gallery")
    }
    if (masks / "queries").is_dir() or (masks / "gallery").is_dir():
        by_side = {
            side: masks_by_stem(masks / side, stems[side]) if (masks / side).is_dir() else {}
            for side in stems
        }
        return by_side["queries"], by_side["gallery"]
    found = masks_by_stem(masks, stems["queries"] | stems["gallery"])
    return found, {stem: path for stem, path in found.items() if stem not in stems["queries"]}
