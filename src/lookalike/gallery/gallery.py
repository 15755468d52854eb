"""The gallery: an embedder and a store, and the verbs that join them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from lookalike.errors import GalleryError
from lookalike.gallery import calibration as calibrating
from lookalike.gallery.adding import (
    AddReport,
    AddSettings,
    Metadata,
    add_files,
    listed,
    utf8_paths,
)
from lookalike.gallery.calibration import Calibration, LabeledPair
from lookalike.gallery.description import GalleryDescription, describe
from lookalike.gallery.files import Edit, absolute, apply_edits
from lookalike.gallery.filters import Where
from lookalike.gallery.nearest import Searcher
from lookalike.gallery.opening import embedder_for, load_embedder, manifest_of
from lookalike.gallery.query import (
    Query,
    QuerySource,
    existing_file,
    image_query,
    images_query,
    is_vector,
    record_query,
    vector_query,
)
from lookalike.gallery.regions import Box, Polygon, Region
from lookalike.gallery.reranking import Rerank, Reranking
from lookalike.gallery.results import Hit, Search, SearchResult, present
from lookalike.images import is_one_image, list_images
from lookalike.models.embedder import Embedder, Precision
from lookalike.store import (
    LanceStore,
    Manifest,
    MemoryStore,
    Record,
    VectorStore,
    plain_uri,
    read_manifest,
    write_manifest,
)
from lookalike.store.hnsw import build_accelerator, can_accelerate
from lookalike.store.manifest import has_manifest
from lookalike.types import FloatArray, ProgressCallback

_MEMORY_BUDGET = 4 * 2**30  # bytes of embeddings that a search may hold


@final
class Gallery:
    """Pictures, their embeddings and metadata, on disk; ``create`` or ``open`` one."""

    def __init__(
        self,
        store: VectorStore,
        embedder: Embedder,
        manifest: Manifest,
        *,
        uri: str | None = None,
        memory_budget: int = _MEMORY_BUDGET,
    ) -> None:
        self.embedder = embedder
        self.uri = uri  # None: in memory only
        self._store, self._manifest = store, manifest
        self._folder = Path(uri) if uri is not None and "://" not in uri else None
        self._searcher = Searcher(store, self._folder, memory_budget)

    def __len__(self) -> int:
        """How many pictures there are; several files with one content are one."""
        return len(self._store)

    def __repr__(self) -> str:
        return f"Gallery({self.uri!r}, {len(self)} pictures, model {self._manifest.model_name!r})"

    # --- making and opening -------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        uri: str | Path,
        model: str | Path | Embedder = "mini",
        *,
        keep_shares: bool = False,
        precision: Precision = "fp32",
        memory_budget: int = _MEMORY_BUDGET,
    ) -> Gallery:
        """A new, empty gallery in a folder (or at an object store's URI) that does not hold one.

        ``keep_shares`` stores where each embedding comes from, at up to 2 N D bytes a picture, so that
        ``why()`` of a hit runs no model on it. ``precision`` (fp32, bf16, auto) is for models by name and
        is kept. Raises GalleryError where there is a gallery already.
        """
        uri = plain_uri(uri)
        if has_manifest(uri):
            raise GalleryError(f"{uri} is a gallery already; open it, or choose another one")
        embedder = load_embedder(model, precision)
        manifest = manifest_of(embedder, model, keep_shares)
        write_manifest(uri, manifest)  # first: a table without it would belong to nobody
        store = LanceStore(uri, manifest.width)
        return cls(store, embedder, manifest, uri=uri, memory_budget=memory_budget)

    @classmethod
    def open(
        cls,
        uri: str | Path,
        model: str | Path | Embedder | None = None,
        *,
        memory_budget: int = _MEMORY_BUDGET,
    ) -> Gallery:
        """The gallery at a URI, with the model that made it.

        Name the model only where it moved: it must be the same one. Raises GalleryError where there
        is no gallery and ModelMismatchError for another model.
        """
        uri = plain_uri(uri)
        manifest = read_manifest(uri)
        embedder = embedder_for(manifest, model, uri)
        store = LanceStore(uri, manifest.width)
        return cls(store, embedder, manifest, uri=uri, memory_budget=memory_budget)

    @classmethod
    def open_or_create(
        cls, uri: str | Path, model: str | Path | None = None, *, keep_shares: bool = False
    ) -> Gallery:
        """The gallery at a URI; a new one, with the model ``mini`` unless another is named, if none is."""
        if has_manifest(uri):
            return cls.open(uri, model)
        return cls.create(uri, model or "mini", keep_shares=keep_shares)

    @classmethod
    def in_memory(cls, model: str | Path | Embedder = "mini") -> Gallery:
        """A gallery that ends with the process; for tests and small experiments."""
        embedder = load_embedder(model)
        manifest = manifest_of(embedder, model, keep_shares=False)
        return cls(MemoryStore(manifest.width), embedder, manifest)

    # --- filling ------------------------------------------------------------------------------

    def add(
        self,
        source: str | Path | Iterable[str | Path],
        *,
        metadata: Metadata | None = None,
        ignore: Sequence[str] = (),
        prune: bool = False,
        workers: int | None = None,
        progress: ProgressCallback | None = None,
    ) -> AddReport:
        """Add a folder (searched to the bottom), a file, or many of them; what is known is not read again.

        A content that lies in several files is one record with copies. A file that was written anew
        counts with its new content. ``metadata`` is of all files, or a function of the path (see
        ``folder_labels``, ``table_metadata``). ``prune`` removes what vanished from the folder.
        Decoding takes ``workers`` processes. Files that can't be read are reported, never fatal;
        UnreadableImageError only for a folder that can't be read.
        """
        folder = Path(absolute(source)) if isinstance(source, str | Path) and Path(source).is_dir() else None
        files = list_images(folder, ignore=ignore) if folder else listed(source)
        paths, impossible = utf8_paths(files)
        settings = AddSettings(metadata, self._manifest.keep_shares, workers, progress)
        report = add_files(paths, self._store, self.embedder, settings)
        if self._searcher.is_too_large():
            self._store.build_index()
        vanished = self.vanished(folder) if folder else ()
        pruned = self._forget(vanished) if prune else 0
        return replace(
            report, unreadable=(*impossible, *report.unreadable), vanished=tuple(vanished), pruned=pruned
        )

    def update(self, folder: str | Path, **options: Any) -> AddReport:
        """Make the gallery what the folder is now: ``add`` with ``prune``."""
        return self.add(folder, prune=True, **options)

    def vanished(self, folder: str | Path | None = None) -> list[str]:
        """Files of the gallery, all or those below a folder, that are no longer there."""
        top = None if folder is None else absolute(folder)
        files = (file.path for record in self._store.records() for file in record.files)
        return [f for f in files if (top is None or Path(f).is_relative_to(top)) and not os.path.lexists(f)]

    def prune(self, folder: str | Path | None = None) -> int:
        """Forget the files that vanished, all or below a folder; how many records that removed."""
        return self._forget(self.vanished(folder))

    def remove(self, what: str | Path | Iterable[str | Path]) -> int:
        """Remove records by id, or forget files by path, or those below a folder.

        A record goes with the last of its files. How many went; unknown ids and paths are nothing.
        """
        wanted = [str(item) for item in ([what] if isinstance(what, str | Path) else what)]
        removed = self._store.remove([record.id for record in self._store.records(wanted)])
        tops = [absolute(item) for item in wanted]
        files = (file.path for record in self._store.records() for file in record.files)
        gone = [path for path in files if any(Path(path).is_relative_to(top) for top in tops)]
        return removed + self._forget(gone)

    def _forget(self, paths: Iterable[str]) -> int:
        gone = set(paths)
        edits: dict[str, Edit] = {}
        for record in self._store.records() if gone else ():
            if lost := gone.intersection(file.path for file in record.files):
                edits[record.id] = Edit(gone=lost)
        return apply_edits(self._store, edits)

    # --- searching ----------------------------------------------------------------------------

    def search(
        self,
        query: QuerySource | Query,
        *,
        k: int = 10,
        box: Box | None = None,
        polygon: Polygon | None = None,
        rerank: Rerank | None = None,
        shortlist: int = 200,
        where: Where | None = None,
        min_similarity: float | None = None,
        min_probability: float | None = None,
        leave_self_out: bool = False,
        explain: bool = False,
    ) -> SearchResult:
        """The k pictures most similar to a query, best first; empty where none is good enough.

        The query is an image (path, bytes, PIL), a list of images (their mean), a record's id, a vector
        (D,), or a ``Query`` made before. ``box`` (left, top, right, bottom) or ``polygon`` ((x, y), ...)
        in its original pixels asks about a part of it (see ``regions``). ``where`` filters by metadata
        (see ``parse_filter``). ``rerank`` re-orders the first ``shortlist`` hits (a name as in
        ``make_reranker``, or a function). ``min_probability`` needs a calibrated gallery.
        ``leave_self_out`` leaves the query's own content out. ``explain`` gives each hit its
        ``query_map``, all of them by one product and without touching their files.

        Raises UnreadableImageError, FilterError, GalleryError, UnsupportedMethodError, and ValueError
        for a region outside the image, a vector of another width, and numbers out of range.
        """
        _check_limits(k, shortlist, min_probability, self.calibration)
        asked = self._ask(query, Region.of(box, polygon))
        if explain:
            asked.check_explainable()
        if leave_self_out and asked.id is None:
            raise ValueError("leave_self_out knows files, bytes and ids, not pictures in memory or vectors")
        found = self._searcher.shortlist(
            asked.unit,
            k if rerank is None else max(k, shortlist),
            where=where,
            without=asked.id if leave_self_out else None,
        )
        reranking = None
        if rerank is not None and len(found.ranking.indices[0]):
            reranking = Reranking(rerank, found, asked, self.embedder, self._store)
        ranking = found.ranking if reranking is None else reranking()
        search = Search(asked, found, self.embedder, self._store, reranking)
        curve = None if asked.region is not None else self.calibration  # a part's cosines are of another kind
        hits = present(search, ranking, k, curve=curve, with_maps=explain)
        return SearchResult(
            [h for h in hits if _is_enough(h, min_similarity, min_probability)], search, ranking
        )

    def _ask(self, query: QuerySource | Query, region: Region | None) -> Query:
        """The query as a unit vector that knows where it comes from."""
        if isinstance(query, Query):
            if region is not None:
                raise ValueError("this query has its region already; leave box and polygon out")
            return query
        if isinstance(query, str) and (record := self._record(query)):
            if region is None:
                return record_query(record, self._store.embeddings([record.id])[0], self.embedder)
            query = existing_file(record)
        if not is_vector(query) and is_one_image(query):
            return image_query(query, self.embedder, region)  # type: ignore[arg-type]
        if region is not None:
            raise ValueError("a region is a part of one image; ask with one image")
        if is_vector(query):
            return vector_query(query, self._manifest.width)
        return images_query(list(query), self.embedder)  # type: ignore[arg-type]

    def _record(self, id: str) -> Record | None:
        """The record with this id, unless a file has that name."""
        if Path(id).exists():
            return None
        return next(iter(self._store.records([id])), None)

    def embedding(self, id: str) -> FloatArray:
        """The unit embedding of a record: (D,) float32. Raises GalleryError for an unknown id."""
        found = self._store.embeddings([id])
        if not len(found):
            raise GalleryError(f"the gallery has no picture {id}; list them with records()")
        return np.asarray(found[0], dtype=np.float32)

    # --- looking after it ---------------------------------------------------------------------

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """All records of the gallery, or those with these ids."""
        return self._store.records(ids)

    def optimize(self) -> int:
        """Tidy the table and build the accelerator for large galleries; how many vectors it holds.

        Searches then are approximate (re-scored exactly) until the gallery changes. Needs the extra
        ``scale`` and a local folder; without them a gallery beyond the memory budget gets the store's
        own index, as it does after ``add``.
        """
        if self.uri is not None and not len(self):
            raise GalleryError(f"{self.uri} is empty; index pictures first")
        if self._searcher.is_too_large() and (self._folder is None or not can_accelerate()):
            self._store.optimize()
            return self._store.build_index()
        if self._folder is None:
            raise GalleryError(
                "an accelerator lies beside the table, so it needs a gallery in a local folder"
            )
        self._store.optimize()
        count = build_accelerator(
            self._folder, self._store.version, self._store.batches(), self._manifest.width
        )
        self._searcher.forget_accelerator()
        return count

    @property
    def calibration(self) -> Calibration | None:
        """The curve from cosines to probabilities; None before ``calibrate``."""
        values = self._manifest.calibration
        return None if values is None else Calibration.from_dict(values)

    def calibrate(
        self,
        pairs: Sequence[LabeledPair] | None = None,
        *,
        field: str | None = None,
        prior: float = 0.5,
        count: int = 200,
        seed: int = 0,
    ) -> Calibration:
        """Learn how likely a hit with some cosine is a match; every hit then has a probability.

        From labeled ``pairs`` (image, image, whether they match); or, for ``count`` pictures of the
        gallery, from the nearest with the same and the nearest with another value of a metadata
        ``field``; or, without labels, from an altered copy of each and the nearest other picture to it.
        ``prior`` is how likely it is, before one looks, that a query has a match here.
        """
        if pairs is not None:
            found, source = calibrating.pair_cosines(pairs, self.embedder), "labeled pairs"
        elif field is not None:
            snapshot = self._searcher.snapshot()
            found = calibrating.label_cosines(snapshot, field, count=count, seed=seed)
            source = f"nearest pictures of the gallery with the same and with another {field!r}"
        else:
            snapshot = self._searcher.snapshot()
            found = calibrating.altered_cosines(snapshot, self.embedder, count=count, seed=seed)
            source = (
                "altered copies of the gallery's pictures, and the nearest other picture to each; no labels"
            )
        result = calibrating.fit_calibration(*found, prior=prior, source=source)
        self._manifest = replace(self._manifest, calibration=result.to_dict())
        if self.uri is not None:
            write_manifest(self.uri, self._manifest)
        return result

    def describe(self) -> GalleryDescription:
        """What the gallery holds and which model made it."""
        return describe(self._store, self._manifest, self.uri, self._folder)


def _check_limits(
    k: int, shortlist: int, min_probability: float | None, calibration: Calibration | None
) -> None:
    if k < 1 or shortlist < 1:
        raise ValueError(f"k and shortlist are 1 or more, got {k} and {shortlist}")
    if min_probability is not None and calibration is None:
        raise GalleryError("this gallery has no probabilities yet; run calibrate first")


def _is_enough(hit: Hit, min_similarity: float | None, min_probability: float | None) -> bool:
    return (min_similarity is None or hit.similarity >= min_similarity) and (
        min_probability is None or (hit.probability is not None and hit.probability >= min_probability)
    )
