"""Makes the map of a gallery, keeps its layout beside the table, and places later pictures into it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import final

import numpy as np

from lookalike.errors import GalleryError, check_name
from lookalike.gallery.mapping.clusters import FieldTexts, clusters_of, dominant_value, typical_rows
from lookalike.gallery.mapping.collection_map import CollectionMap, MapCluster, rows_by
from lookalike.gallery.mapping.layouts import (
    MAP_LAYOUTS,
    LayoutName,
    StoredLayout,
    has_umap,
    load_layout,
    placed,
    plane_of,
    save_layout,
)
from lookalike.gallery.nearest import Searcher
from lookalike.store import Record
from lookalike.types import FloatArray

_TYPICAL = 6  # pictures that are shown of a cluster


@final
class Mapper:
    """The maps of one gallery; the latest of each layout is kept in memory and, with a folder, on disk."""

    def __init__(self, searcher: Searcher, folder: Path | None, model: str) -> None:
        self._searcher, self._folder, self._model = searcher, folder, model
        self._layouts: dict[str, StoredLayout] = {}
        self._made: dict[str, tuple[int, StoredLayout, CollectionMap]] = {}

    def __call__(
        self, layout: str | None, *, clusters: int | None, seed: int | None, again: bool
    ) -> CollectionMap:
        """Return the map; see ``Gallery.map``."""
        if clusters is not None and (isinstance(clusters, bool) or clusters < 0):
            raise ValueError(f"clusters must be a whole number of 0 or more, or None; got {clusters!r}")
        name = self._layout_name(layout)
        if self._searcher.is_too_large():
            raise GalleryError("the map needs all embeddings in memory, and they are beyond its budget")
        snapshot = self._searcher.snapshot()
        stored = None if again else self._stored(name)
        if stored is not None and (
            (seed is not None and seed != stored.seed) or (clusters is not None and clusters != stored.wanted)
        ):
            stored = None
        last = self._made.get(name)
        if last is not None and last[0] == snapshot.version and last[1] is stored:
            return last[2]
        unsorted = list(snapshot.records)  # read once, in pieces: one by one takes ten times as long
        ids = np.array([record.id for record in unsorted], dtype="U20")
        order = np.argsort(ids, kind="stable")
        ids, vectors = ids[order], snapshot.embeddings[order]
        records = [unsorted[row] for row in order.tolist()]
        if not len(ids):
            raise GalleryError("an empty gallery has no map; add images first")
        if stored is None or not np.isin(ids, stored.ids).any():
            laid = self._new(name, ids, vectors, clusters, seed or 0)
        else:
            laid = _continued(stored, ids, vectors)
        if laid is not stored:
            self._keep(laid)
        made = CollectionMap(
            name, laid.seed, laid.contents, records, laid.points, laid.clusters,
            _groups(laid, records, vectors), vectors, laid.n_later,
        )  # fmt: skip
        self._made[name] = (snapshot.version, laid, made)
        return made

    def _layout_name(self, layout: str | None) -> LayoutName:
        """The layout asked for; by default the one that is kept, else UMAP where it is installed."""
        if layout is None:
            kept: list[LayoutName] = [name for name in ("umap", "pca") if self._stored(name)]
            return kept[0] if kept else "umap" if has_umap() else "pca"
        check_name("layout", layout, MAP_LAYOUTS)
        return "umap" if layout == "umap" else "pca"

    def _new(
        self, name: LayoutName, ids: np.ndarray, vectors: FloatArray, wanted: int | None, seed: int
    ) -> StoredLayout:
        points, mean, axes = plane_of(vectors, name, seed)
        labels = clusters_of(vectors, points, by_density=name == "umap", wanted=wanted, seed=seed)
        return StoredLayout(
            name, seed, wanted, self._model, contents_of(ids), 0, ids, points, labels, mean, axes
        )  # fmt: skip

    def _file(self, name: str) -> Path | None:
        return None if self._folder is None else self._folder / f"map-{name}.npz"

    def _stored(self, name: str) -> StoredLayout | None:
        if name not in self._layouts and (file := self._file(name)) is not None:
            found = load_layout(file)
            if found is not None and found.model == self._model and found.name == name:
                self._layouts[name] = found
        return self._layouts.get(name)

    def _keep(self, layout: StoredLayout) -> None:
        self._layouts[layout.name] = layout
        file = self._file(layout.name)
        if file is not None and os.access(file.parent, os.W_OK):
            save_layout(file, layout)


def contents_of(ids: np.ndarray) -> str:
    """Return the fingerprint of ids in their order."""
    return hashlib.sha256("\n".join(ids.tolist()).encode()).hexdigest()[:32]


def _continued(stored: StoredLayout, ids: np.ndarray, vectors: FloatArray) -> StoredLayout:
    """The layout for these sorted ids: what is placed stays, what is gone is left out, the rest is placed."""
    contents = contents_of(ids)
    if contents == stored.contents:
        return stored
    is_kept = np.isin(ids, stored.ids)
    kept = stored.subset(np.searchsorted(stored.ids, ids[is_kept]))
    points = np.empty((len(ids), 2), np.float32)
    labels = np.empty(len(ids), np.int32)
    points[is_kept], labels[is_kept] = kept.points, kept.clusters
    n_new = int((~is_kept).sum())
    if n_new:
        points[~is_kept], labels[~is_kept] = placed(kept, vectors[is_kept], vectors[~is_kept])
    n_later = min(stored.n_later + n_new, len(ids))
    return replace(stored, ids=ids, points=points, clusters=labels, contents=contents, n_later=n_later)


def _groups(layout: StoredLayout, records: Sequence[Record], vectors: FloatArray) -> list[MapCluster]:
    names = {name for record in records for file in record.files for name in file.metadata}
    fields = [FieldTexts(name, records) for name in sorted(names)]
    found = []
    for number, rows in rows_by(layout.clusters):
        if not len(rows):  # all of its pictures are gone
            continue
        title = dominant_value(rows, fields)
        typical = tuple(records[row].id for row in typical_rows(vectors, rows, _TYPICAL))
        found.append(MapCluster(number, len(rows), title or f"cluster {number + 1}", typical))
    return found
