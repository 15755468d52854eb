"""The gallery: an embedder and a vector store, with methods to add, search, explain and maintain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import numpy as np

from lookalike.datasets import PictureRows
from lookalike.distributed import ENGINES
from lookalike.errors import GalleryError, LookalikeError, check_name
from lookalike.gallery import calibration as calibrating
from lookalike.gallery.absence import Absent, absent_files
from lookalike.gallery.add_report import AddReport
from lookalike.gallery.add_run import AddSettings, Metadata
from lookalike.gallery.adding import add_files
from lookalike.gallery.adding_on_ray import RaySettings, add_files_on_ray
from lookalike.gallery.audit import audit_of
from lookalike.gallery.calibration import Calibration, LabeledPair
from lookalike.gallery.cases.case_file import CaseFile, case_names, case_path
from lookalike.gallery.cases.exchange import decided_cosines
from lookalike.gallery.checking import Checker, CheckReport
from lookalike.gallery.description import Describer, GalleryDescription
from lookalike.gallery.embedding_runtime import chosen_runtime, with_runtime
from lookalike.gallery.examples import examples_of
from lookalike.gallery.filters import Where
from lookalike.gallery.geometry_calibration import fit_geometry_to_pairs, geometry_or_none
from lookalike.gallery.grouping import groups_of
from lookalike.gallery.groups import Groups
from lookalike.gallery.healing import heal_doubles, may_have_doubles
from lookalike.gallery.hubs import Hubness
from lookalike.gallery.links import GROUP_KINDS
from lookalike.gallery.listing import listing_of, with_absent
from lookalike.gallery.looks import Looks, holds_any
from lookalike.gallery.maintenance import build_search_index, forget_files, index_if_large, remove_items
from lookalike.gallery.many import BATCH_SIZE, QUERY_ERRORS, batched_queries
from lookalike.gallery.mapping import CollectionMap
from lookalike.gallery.mapping.mapper import Mapper
from lookalike.gallery.nearest import Searcher, Shortlist
from lookalike.gallery.opening import (
    check_precision,
    check_same_model,
    embedder_for,
    load_embedder,
    manifest_of,
)
from lookalike.gallery.query import Query, QuerySource, make_query
from lookalike.gallery.recurrences import Audit, Recurrence
from lookalike.gallery.regions import Box, Polygon, Region
from lookalike.gallery.reranking import (
    NO_RERANK,
    Rerank,
    Reranking,
    chosen_reranker,
    context_of,
    record_shares,
    verifies,
)
from lookalike.gallery.restoring import EarlierVersion, earlier_versions, restore_forgotten
from lookalike.gallery.results import Search, SearchResult, present, within_limits
from lookalike.gallery.searching_regions import RegionsResult, search_by_regions
from lookalike.gallery.set_aside import chosen_directions, seen_without
from lookalike.gallery.tags import tag_records
from lookalike.gallery.verifying import FeatureCache, turned_units
from lookalike.gallery.wording import worded_query
from lookalike.images import GrayLevels
from lookalike.models.embedder import Embedder, ImageSource, Precision
from lookalike.rerankers import DEFAULT_ODDS, MatchOdds
from lookalike.rerankers.local_features import has_opencv
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
from lookalike.store.manifest import check_no_table, has_manifest, is_writable
from lookalike.types import FloatArray, ProgressCallback, Shares, tracked

_MEMORY_BUDGET = 4 * 2**30  # bytes of embeddings kept in memory for exact search


@final
class Gallery:
    """Images with their embeddings and metadata, on disk; see ``create`` and ``open``.

    The constructor takes the parts of a gallery that exist already: a store, the embedder that made
    its embeddings, and the manifest. ``uri`` is None for a gallery in memory. ``memory_budget`` is in
    bytes: search is exact while all embeddings (float32) fit into it.
    """

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
        self._healed = 0  # files that two records claimed when the gallery was opened
        self._describer = Describer(store)
        self._searcher = Searcher(store, self._folder, memory_budget, manifest.fingerprint)
        self._looks = Looks(self._folder)
        self._features = FeatureCache(embedder)
        self._mapper = Mapper(self._searcher, self._folder, manifest.fingerprint)

    def __len__(self) -> int:
        """Number of images; files with identical content count once."""
        return len(self._store)

    def __repr__(self) -> str:
        return f"Gallery({self.uri!r}, {len(self)} images, model {self._manifest.model_name!r})"

    # --- creating and opening -----------------------------------------------------------------

    @classmethod
    def create(
        cls,
        uri: str | Path,
        model: str | Path | Embedder = "mini",
        *,
        keep_shares: bool = False,
        precision: Precision = "fp32",
        device: str = "auto",
        levels: GrayLevels | None = None,
        memory_budget: int = _MEMORY_BUDGET,
    ) -> Gallery:
        """Create an empty gallery in a folder or at an object store's URI.

        ``keep_shares`` also stores the shares of each image, up to 2 N D bytes for N cells and width D,
        so that ``why()`` of a hit needs no forward pass of the match. ``precision`` (fp32, bf16, fp16, auto)
        applies to a model given by name and is recorded in the gallery, as are ``levels``: the values of
        black and white in gray pictures of more than 8 bits, where files don't declare them. ``device``
        (auto, cpu, cuda) is where such a model runs. Raises GalleryError if the URI holds a gallery
        already, and for shares, which are computed in fp32, of a model in another precision.
        """
        uri = plain_uri(uri)
        if has_manifest(uri):
            raise GalleryError(f"{uri} is a gallery already; open it, or choose another URI")
        check_no_table(uri)
        embedder = load_embedder(model, precision, levels, device)
        manifest = manifest_of(embedder, model, keep_shares)
        write_manifest(uri, manifest)  # first: a table without a manifest can't be opened
        store = LanceStore(uri, manifest.width)
        return cls(store, embedder, manifest, uri=uri, memory_budget=memory_budget)

    @classmethod
    def open(
        cls,
        uri: str | Path,
        model: str | Path | Embedder | None = None,
        *,
        device: str = "auto",
        memory_budget: int = _MEMORY_BUDGET,
    ) -> Gallery:
        """Open the gallery at a URI with the model that made its embeddings.

        ``model`` is needed only if that model's file has moved; ``device`` is where it runs. Files that two
        records claim, which an interrupted update of an earlier version left, are given to one of them.
        Raises GalleryError if there is no gallery at the URI and ModelMismatchError if the model is a
        different one.
        """
        uri = plain_uri(uri)
        manifest = read_manifest(uri)
        embedder = embedder_for(manifest, model, uri, device)
        store = LanceStore(uri, manifest.width)
        healed = heal_doubles(store) if may_have_doubles(manifest, uri) and is_writable(uri) else 0
        gallery = cls(store, embedder, manifest, uri=uri, memory_budget=memory_budget)
        gallery._healed = healed
        return gallery

    @classmethod
    def open_or_create(
        cls,
        uri: str | Path,
        model: str | Path | None = None,
        *,
        keep_shares: bool = False,
        precision: Precision | None = None,
        device: str = "auto",
        levels: GrayLevels | None = None,
    ) -> Gallery:
        """Open the gallery at a URI, or create it there: by default with ``mini``, in fp32.

        Raises GalleryError for another ``precision`` or ``levels`` than those of an existing gallery.
        """
        if not has_manifest(uri):
            return cls.create(
                uri, model or "mini", keep_shares=keep_shares, precision=precision or "fp32", device=device,
                levels=levels,
            )  # fmt: skip
        gallery = cls.open(uri, model, device=device)
        check_precision(gallery._manifest, precision, uri)
        own = gallery.embedder.preprocessing.levels
        if levels is not None and levels != own:
            raise GalleryError(
                f"{uri} was made with levels {own}, not {levels}; leave them out, or index into a new gallery"
            )
        return gallery

    @classmethod
    def in_memory(cls, model: str | Path | Embedder = "mini") -> Gallery:
        """Create a gallery that is not saved; for tests and small experiments."""
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
        yes: bool = False,
        workers: int | None = None,
        engine: str = "local",
        address: str | None = None,
        runtime: str = "eager",
        progress: ProgressCallback | None = None,
    ) -> AddReport:
        """Add a folder (recursively), a file, or several files; unchanged files are not read again.

        A source may also be an ``s3://`` prefix, a CSV or Parquet table of paths, or tars of WebDataset
        (docs/galleries.md); the last two bring metadata, over which that given here counts.
        Files with identical content become one record with copies, each with its own metadata; a moved or
        renamed file keeps its metadata, and so does a changed one, which is added with its new content.
        ``PictureRows`` of another library bring their own metadata.
        ``metadata`` applies to all files, or is a function of the path (see ``folder_labels``,
        ``table_metadata``); None as a value removes a field. ``ignore`` lists glob patterns of files to
        skip. ``prune`` forgets files that were deleted from the folder. Never forgotten are those whose
        folder could not be looked at; those of an emptied folder, all files of ``source``, and more than
        half of the gallery only with ``yes``. ``workers`` is the number of decoding processes; by default
        as many as the model waits for, at most one for each core. With the ``engine`` ray, they are Ray
        actors that decode and embed on the cluster at ``address`` (``auto``: that of this machine; None:
        this machine's cores), one for each core by default; see docs/scale.md. ``runtime`` openvino, onnx,
        compile or auto embeds by a faster form of the model, once its embeddings were compared with eager
        ones (docs/speed.md); the manifest then says so. Unreadable files, conflicts and what was forgotten
        or kept are listed in the report; UnreadableImageError is raised only if the folder itself can't be
        read, DeviceMemoryError where memory does not suffice for one image: what was embedded is then kept.
        """
        check_name("engine", engine, ENGINES)
        faster = chosen_runtime(self.embedder, runtime, engine, keep_shares=self._manifest.keep_shares)
        if isinstance(source, PictureRows) and metadata is None:
            metadata = source.metadata
        start, listing = Looks.now(), listing_of(source, ignore)
        folder, metadata = listing.folder, listing.with_own(metadata)
        settings = AddSettings(
            metadata, self._manifest.keep_shares, listing.top, workers, progress, found=listing.found,
            since=self._looks.since(folder) if folder else None, runtime=faster,
        )  # fmt: skip
        if engine == "ray":
            where = RaySettings(self.uri, address)
            report = add_files_on_ray(listing.paths, self._store, self.embedder, settings, where)
        else:
            report = add_files(listing.paths, self._store, self.embedder, settings)
        if faster is not None:
            self._manifest = with_runtime(self._manifest, faster, self.uri)
        is_whole = not (ignore or listing.skipped or holds_any(self._store, dict(report.unreadable)))
        if folder and is_whole:
            self._looks.note(folder, start)
        index_if_large(self._store, self._searcher)
        report = replace(report, remarks=listing.all_remarks(metadata, prune=prune))
        return with_absent(report, listing, self._store, prune=prune, yes=yes)

    def update(self, folder: str | Path, **options: Any) -> AddReport:
        """Bring the gallery up to date with a folder: ``add`` with ``prune=True``."""
        return self.add(folder, prune=True, **options)

    def vanished(self, folder: str | Path | None = None) -> list[str]:
        """Return the gallery's files, all or those below a folder, that certainly no longer exist."""
        return list(self.absent(folder).gone)

    def absent(self, folder: str | Path | None = None) -> Absent:
        """Return the gallery's files that are not found, all or those below a folder, by what is known."""
        return absent_files(self._store, folder)

    def prune(self, folder: str | Path | None = None, *, yes: bool = False) -> int:
        """Forget files that no longer exist, all or below a folder; return how many records that removed.

        Files whose folder can't be read are kept. Raises GalleryError if no file or less than half of the
        gallery would be left, unless ``yes``, which also forgets what lay in emptied and missing folders.
        """
        absent = self.absent(folder)
        if absent.question and not yes:
            raise GalleryError(
                f"{absent.question}; nothing was forgotten: if that is right, confirm with yes"
            )
        return forget_files(self._store, absent.forgettable(yes))

    def versions(self) -> list[EarlierVersion]:
        """Return the earlier states that can still be restored, newest first, with what each would bring."""
        return earlier_versions(self._store)

    def restore(self, version: int | None = None) -> EarlierVersion:
        """Bring back files, with their metadata, that an earlier state had and the gallery has forgotten.

        What was added since stays. By default the state is the newest that has such files. Raises
        GalleryError if there is none, or for a version that is no longer kept.
        """
        return restore_forgotten(self._store, version)

    def remove(self, what: str | Path | Iterable[str | Path]) -> int:
        """Remove records by id, or forget files by path or by folder; files on disk are not touched.

        A record is removed with the last of its files. Returns how many records were removed; unknown
        ids and paths are ignored.
        """
        return remove_items(self._store, [what] if isinstance(what, str | Path) else what)

    # --- searching ----------------------------------------------------------------------------

    def search(
        self,
        query: QuerySource | Query | None = None,
        *,
        text: str | None = None,
        unlike: Sequence[QuerySource | Query] = (),
        weight: float = 0.5,
        k: int = 10,
        box: Box | None = None,
        polygon: Polygon | None = None,
        rerank: Rerank | None = None,
        shortlist: int = 200,
        where: Where | None = None,
        min_similarity: float | None = None,
        min_probability: float | None = None,
        leave_self_out: bool = False,
        liked: Sequence[QuerySource] = (),
        disliked: Sequence[QuerySource] = (),
        correct: str | None = None,
        explain: bool = False,
    ) -> SearchResult:
        """Return the k images most similar to a query, best first; empty if none passes the limits.

        The query is an image (path, bytes, PIL), a list of images (their mean), a record's id, a vector
        (D,) float of any length but zero, or a ``Query``. ``text`` searches by words, for a model with a
        text tower, alone or beside the image, which then has 1 - ``weight``; ``unlike`` holds images and
        texts that hits should not look like. ``box`` (left, top, right, bottom) or
        ``polygon`` ((x, y), ...), in pixels of the original image, restricts it to a region (see
        ``regions``). ``where`` filters by metadata (see ``parse_filter``). ``rerank`` re-orders the
        first ``shortlist`` hits (a name as in ``make_reranker``, or a function from Ranking to Ranking); by
        default nothing does, but an AVSL model's own distance for one whole image, unless it is "none".
        ``min_similarity`` is a cosine in [-1, 1]; ``min_probability``, in [0, 1], needs a calibrated
        gallery or ``rerank="geometry"``, which verifies each hit (``Hit.verification``).
        ``leave_self_out`` excludes the query's own content. ``liked`` and ``disliked`` images (ids, files,
        vectors) move the query towards and away from them (see ``examples``). ``correct`` (csls, center)
        ranks by scores that are corrected for images that are near everything (``hubs``). ``explain`` sets
        each hit's ``query_map`` without reading the files of the hits.

        Raises UnreadableImageError, FilterError, GalleryError, UnsupportedMethodError, and ValueError
        for a region outside the image, a vector of another width, and numbers out of range.
        """
        _check_limits(k, shortlist, min_probability, verifies(rerank) or self.calibration is not None)
        _check_ranges(min_similarity, min_probability)
        asked = self.query(query, box=box, polygon=polygon, text=text, unlike=unlike, weight=weight)
        if asked.in_words:
            _check_words(min_probability, (*liked, *disliked))
        asked = self.with_examples(asked, liked, disliked)
        if explain:
            asked.check_explainable()
        if leave_self_out and asked.id is None:
            raise ValueError(
                "leave_self_out needs a query by file, bytes or id; an image in memory or a vector has no id"
            )
        if correct is None:
            rerank = chosen_reranker(rerank, asked, self.embedder)
        elif rerank == NO_RERANK:
            rerank = None
        among: dict[str, Any] = {"where": where, "without": asked.id if leave_self_out else None}
        if correct is not None:
            n = k if rerank is None else max(k, shortlist)
            found = self._searcher.corrected(correct, asked.unit, n, **among)
        else:
            found = self._shortlisted(asked, k, rerank, shortlist, among)
        reranking = None
        if rerank is not None and len(found.ranking.indices[0]):
            parts = (self.embedder, self._store, self._features, self.match_odds)
            reranking = Reranking(rerank, found, asked, *parts, n_shown=k)
        ranking = found.ranking if reranking is None else reranking()
        search = Search(
            asked, found, self.embedder, self._store, reranking, self._searcher.mean, correction=correct
        )
        is_plain = asked.region is None and asked.examples is None and not asked.in_words
        curve = self.calibration if is_plain else None  # which was fitted to whole images
        hits = present(search, ranking, k, curve=curve, with_maps=explain)
        return SearchResult(within_limits(hits, min_similarity, min_probability), search, ranking)

    def _shortlisted(
        self, asked: Query, k: int, rerank: Rerank | None, shortlist: int, among: Mapping[str, Any]
    ) -> Shortlist:
        """The nearest, as many as the re-ranker needs, and those of the turned query where it verifies."""
        n = k if rerank is None else max(k, shortlist)
        found = self._searcher.shortlist(asked.unit, n, n_context=context_of(rerank), **among)
        if verifies(rerank) and len(found.ranking.indices[0]):
            turned = turned_units(asked, self.embedder)
            found = self._searcher.widened(found, turned, max(1, shortlist // 4), **among)
        return found

    def query(
        self,
        query: QuerySource | Query | None = None,
        *,
        box: Box | None = None,
        polygon: Polygon | None = None,
        text: str | None = None,
        unlike: Sequence[QuerySource | Query] = (),
        weight: float = 0.5,
    ) -> Query:
        """Return the query that ``search`` makes of these arguments; raises as it does."""
        region = Region.of(box, polygon)
        return worded_query(
            query, region, text=text, unlike=unlike, weight=weight, store=self._store, embedder=self.embedder
        )

    def search_many(
        self,
        queries: Iterable[QuerySource | Query],
        *,
        batch_size: int = BATCH_SIZE,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> list[SearchResult]:
        """Return the hits of each query, in the order of the queries; ``options`` are those of ``search``.

        Single images are embedded ``batch_size`` at a time. A region is a part of one image: give a
        ``Query`` for it. Raises what ``search`` raises, at the first query that can't be used; see
        ``search_each``.
        """
        results = []
        for found in self.search_each(queries, batch_size=batch_size, progress=progress, **options):
            if not isinstance(found, SearchResult):
                raise found
            results.append(found)
        return results

    def search_each(
        self,
        queries: Iterable[QuerySource | Query],
        *,
        batch_size: int = BATCH_SIZE,
        progress: ProgressCallback | None = None,
        **options: Any,
    ) -> Iterator[SearchResult | LookalikeError]:
        """Yield the hits of each query as they are found, or the error of a query that can't be read.

        As ``search_many``, which is for when all of them are needed.
        """
        if {"box", "polygon"} & set(options):
            raise ValueError("a region is a part of one image; search for it with one query")
        total = len(queries) if isinstance(queries, Sized) else 0
        expect = self._searcher.expect
        asked = batched_queries(queries, self._store, self.embedder, batch_size, expect)
        for query in tracked(asked, "searching", total, progress):
            if isinstance(query, LookalikeError):
                yield query
                continue
            try:
                found: SearchResult | LookalikeError = self.search(query, **options)
            except QUERY_ERRORS as error:
                found = error
            yield found

    def with_examples(
        self, query: Query, liked: Sequence[QuerySource], disliked: Sequence[QuerySource]
    ) -> Query:
        """Return a query moved towards liked images and away from disliked ones (see ``examples``)."""
        units = [
            [make_query(each, None, self._store, self.embedder).unit for each in group]
            for group in (liked, disliked)
        ]
        return query.with_examples(examples_of(*units))

    # --- cases --------------------------------------------------------------------------------

    def case(self, name: str) -> CaseFile:
        """Open a case beside the gallery, or start one: what people decide about queries and hits.

        Raises ValueError for a name that is none for a file, and GalleryError for a gallery that is not
        in a folder of this machine, and for a damaged case.
        """
        return CaseFile(
            case_path(self._cases_folder(), name),
            model=self._manifest.model_name,
            fingerprint=self._manifest.fingerprint,
        )

    @property
    def is_on_disk(self) -> bool:
        """Whether it lies in a folder of this machine, where cases can be kept beside it."""
        return self._folder is not None

    def cases(self) -> list[str]:
        """Return the names of the gallery's cases; raises as ``case``."""
        return case_names(self._cases_folder())

    def _cases_folder(self) -> Path:
        if self._folder is None:
            raise GalleryError("cases are kept beside a gallery in a folder; this one is in memory or remote")
        return self._folder

    def groups(
        self,
        *,
        other: Gallery | None = None,
        kinds: Sequence[str] = GROUP_KINDS,
        precision: float | None = None,
        min_similarity: float | None = None,
        neighbors: int = 10,
        progress: ProgressCallback | None = None,
    ) -> Groups:
        """Return exact copies, near-duplicates and pictures of the same thing, each link with its evidence.

        Each image is compared with its nearest ``neighbors``. The same thing is what has a cosine of
        ``min_similarity``, or what keeps the ``precision`` in (0, 1) that the calibration expects; by default
        what is a match with probability 0.5. ``other`` compares with another gallery of the same model
        instead: what of this one is in the other. Near-duplicates need the extra ``geometry``. Raises
        UnknownNameError for other ``kinds``, GalleryError for a precision without a calibration,
        ModelMismatchError for a gallery of another model.
        """
        galleries = [self] if other is None else [self, other]
        if other is not None:
            check_same_model(self._manifest, other._manifest)
        return groups_of(
            [each._searcher.snapshot() for each in galleries],
            self.embedder,
            self.calibration,
            self._searcher.accelerator() if other is None else None,
            kinds=kinds,
            precision=precision,
            min_similarity=min_similarity,
            neighbors=neighbors,
            progress=progress,
        )

    def audit(self, *, sample: int = 500, seed: int = 0, progress: ProgressCallback | None = None) -> Audit:
        """Return what recurs over the pictures beyond chance: watermarks, logos, frames, captions.

        ``sample`` random pictures are looked at. Each finding says in which pictures it is, where, and how
        much of their similarity it carries. The result is saved beside a gallery in a folder, so that
        ``without`` takes its ids. Marks at changing places need the extra ``geometry``. Raises
        GalleryError for fewer than 20 pictures, and ValueError for a smaller sample.
        """
        found = audit_of(self._store, self.embedder, sample=sample, seed=seed, progress=progress)
        if self._folder is not None and is_writable(self._folder):
            found.save(self._folder)
        return found

    def without(self, found: Recurrence | str | Sequence[Recurrence | str]) -> Gallery:
        """Return this gallery in memory, without what an audit found (or its ids in the last one).

        Directions are removed from images and queries alike, so hits are explained as ever; probabilities
        are not kept. Raises GalleryError for an unknown id and without an audit.
        """
        directions = chosen_directions(found, self._folder, self._manifest)
        return Gallery(*seen_without(self._searcher.snapshot(), self.embedder, self._manifest, directions))

    def map(
        self,
        layout: str | None = None,
        *,
        clusters: int | None = None,
        seed: int | None = None,
        again: bool = False,
    ) -> CollectionMap:
        """Return where each image stands in a plane in which similar images are near each other.

        ``layout`` is ``umap`` (extra ``map``) or ``pca``; by default the one kept, else UMAP where installed.
        It is kept beside the gallery: images added later are placed into it, and what is there stays.
        ``clusters`` is their number, 0 for none, None for as many as are found. Another ``seed``, another
        number or ``again`` makes it anew. Raises GalleryError for an empty gallery, one beyond the memory
        budget, and where a library is not installed.
        """
        return self._mapper(layout, clusters=clusters, seed=seed, again=again)

    def tag(
        self, ids: str | Sequence[str], *, add: Sequence[str] = (), remove: Sequence[str] = ()
    ) -> list[Record]:
        """Give images tags, and take tags from them; return the records that this changed.

        Tags are the list ``tags`` of the metadata of each file of an image, so they are searched with
        ``where='"red" in tags'``, move with a renamed file and survive updates. Raises GalleryError for an
        unknown id, and where ``tags`` holds other than texts; ValueError for tags that are too many or too
        long.
        """
        return tag_records(self._store, [ids] if isinstance(ids, str) else ids, add, remove)

    def search_regions(
        self,
        query: ImageSource,
        *,
        boxes: Sequence[Box] | None = None,
        limit: int = 12,
        shortlist: int = 50,
        where: Where | None = None,
        leave_self_out: bool = False,
        progress: ProgressCallback | None = None,
    ) -> RegionsResult:
        """Return what a photograph shows and where: its regions, each searched and verified by itself.

        Up to ``limit`` regions are proposed (``propose_regions``), or ``boxes`` are searched, in pixels of
        the photograph. Of each, the nearest ``shortlist`` images, and a quarter as many for each quarter
        turn, are verified by geometry; four times as many for the first six regions where nothing was found.
        Matches of probability 0.5 or more come first, one at each place, in the box of their outline; then
        regions where nothing certain was found, with their best hit.

        Raises LookalikeError if OpenCV is not installed (extra ``geometry``), and otherwise as ``search``.
        """
        _check_limits(limit, shortlist, None, True)
        return search_by_regions(
            self, query, boxes=boxes, limit=limit, shortlist=shortlist, where=where,
            leave_self_out=leave_self_out, progress=progress,
        )  # fmt: skip

    def embedding(self, id: str) -> FloatArray:
        """Return a record's unit-length embedding, (D,) float32. Raises GalleryError for an unknown id."""
        if (found := self._searcher.embedding(id)) is None:
            raise GalleryError(f"the gallery has no image {id!r}; list them with records()")
        return np.array(found, dtype=np.float32)

    def shares(self, id: str) -> Shares:
        """Return a record's shares, as stored or else from its file, which is one forward pass.

        Raises GalleryError for an unknown id, UnreadableImageError if the file is gone and
        UnsupportedMethodError for a model without shares.
        """
        if not (found := self._store.records([id])):
            raise GalleryError(f"the gallery has no image {id!r}; list them with records()")
        return record_shares(found[0], self.embedder, self._store)

    def mean_unit(self) -> FloatArray:
        """Return the mean of all unit embeddings, (D,) float32, of length 0 to 1: what all images share.

        Computed once for each state of the gallery. Raises GalleryError for an empty gallery.
        """
        return self._searcher.mean()

    def hubs(self) -> Hubness | None:
        """Return the images that are near everything, so that they turn up whatever is searched for.

        ``Hubness.sentence`` says what setting them aside would bring. None for a gallery beyond the memory
        budget.
        """
        return self._searcher.hubs()

    @property
    def infers_distance(self) -> bool:
        """Whether its model is an AVSL model, so that ``rerank="avsl"`` ranks by the inferred distance."""
        return self.embedder.network.graph is not None

    @property
    def answers_words(self) -> bool:
        """Whether its model has a text tower, so that ``search`` takes a text."""
        return self.embedder.text is not None

    @property
    def keeps_shares(self) -> bool:
        """Whether the shares of each image are stored; ``why`` then splits at the last layer."""
        return self._manifest.keep_shares

    # --- maintenance --------------------------------------------------------------------------

    def records(self, ids: Sequence[str] | None = None) -> Sequence[Record]:
        """Return all records of the gallery, or those with the given ids."""
        return self._store.records() if ids is None else self._searcher.records(ids)

    def optimize(self) -> int:
        """Compact the table and build the accelerator for large galleries; return its number of vectors.

        Searches then take approximate neighbors, re-scored exactly. The next search takes in what is
        added and removed later; where that is more than a fifth, call this again. Needs the extra
        ``scale`` and a local folder; without them a gallery beyond the memory budget gets the store's own
        index, as it does after ``add``. Raises GalleryError for an empty gallery.
        """
        if self.uri is not None and not len(self):
            raise GalleryError(f"{self.uri} is empty; index images first")
        return build_search_index(self._store, self._folder, self._searcher, self._manifest.fingerprint)

    def check(self, *, repair: bool = False, contents: bool = False) -> CheckReport:
        """Check rows, files, doubles, norms, fingerprints and the accelerator; say what is wrong.

        ``contents`` reads every file and compares its hash, rather than size and time. ``repair`` makes
        damaged embeddings again from their files, or removes them where no file has the content any more,
        gives each file to one record, and removes a damaged accelerator; files are never forgotten by it.
        """
        checker = Checker(self._store, self.embedder, self._manifest, self._folder, repair)
        return checker(contents=contents, healed=self._healed)

    @property
    def calibration(self) -> Calibration | None:
        """The fitted curve from cosine to match probability; None before ``calibrate``."""
        values = self._manifest.calibration
        return None if values is None else Calibration.from_dict(values)

    @property
    def match_odds(self) -> MatchOdds:
        """The odds of a match by cosine and geometric evidence; the defaults before ``calibrate``."""
        values = self._manifest.geometry
        return DEFAULT_ODDS if values is None else MatchOdds.from_dict(values)

    def calibrate(
        self,
        pairs: Sequence[LabeledPair] | None = None,
        *,
        field: str | None = None,
        case: CaseFile | None = None,
        prior: float = 0.5,
        count: int = 200,
        seed: int = 0,
    ) -> Calibration:
        """Fit the probability that a hit with a given cosine is a match; hits then have a probability.

        The curve is fitted to labeled ``pairs`` (image, image, whether they match), or to those decided in
        a ``case``. Without these, ``count`` random images of the gallery are paired with the nearest image
        of the same and of another value of the metadata ``field``; without a field, with an altered copy of
        themselves and with the nearest other image. ``prior`` in (0, 1) is the assumed rate of queries that
        have a match in the gallery.

        Where OpenCV is installed, the probability of a hit verified by geometry is fitted as well
        (``match_odds``), to the labeled pairs or to altered copies, half of them boxes on a wall; if that
        fails, the defaults stay. Raises GalleryError if there are too few pairs or if matching pairs are
        not more similar than the others.
        """
        if pairs is not None:
            found, source = calibrating.pair_cosines(pairs, self.embedder), "labeled pairs"
        elif case is not None:
            found = decided_cosines(case, self._manifest.fingerprint)
            source = f"what was decided in the case {case.name!r}"
        elif field is not None:
            found = calibrating.label_cosines(self._searcher.snapshot(), field, count=count, seed=seed)
            source = f"nearest images of the gallery with the same and with another {field!r}"
        else:
            snapshot = self._searcher.snapshot()
            found = calibrating.altered_cosines(snapshot, self.embedder, count=count, seed=seed)
            source = "altered copies of the gallery's images, and the nearest other image to each; no labels"
        result = calibrating.fit_calibration(*found, prior=prior, source=source)
        self._manifest = replace(self._manifest, calibration=result.to_dict())
        if has_opencv():
            odds = (
                geometry_or_none(self, count=count, prior=prior, seed=seed)
                if pairs is None
                else fit_geometry_to_pairs(pairs, self.embedder, prior=prior)
            )
            self._manifest = replace(self._manifest, geometry=None if odds is None else odds.to_dict())
        if self.uri is not None:
            write_manifest(self.uri, self._manifest)
        return result

    def describe(self) -> GalleryDescription:
        """Return the gallery's size, model and settings."""
        return self._describer.describe(self._manifest, self.uri, self._folder)


def _check_ranges(min_similarity: float | None, min_probability: float | None) -> None:
    for name, value, least in (
        ("min_similarity", min_similarity, -1),
        ("min_probability", min_probability, 0),
    ):
        if value is not None and not least <= value <= 1:  # nor NaN, which no hit would reach
            raise ValueError(f"{name} must be a number from {least} to 1; got {value!r}")


def _check_words(min_probability: float | None, examples: Sequence[object]) -> None:
    if min_probability is not None:
        raise ValueError("probabilities are calibrated for images, not for words; leave min_probability out")
    if examples:
        raise ValueError("liked and disliked images go with an image; with words use unlike")


def _check_limits(k: int, shortlist: int, min_probability: float | None, has_probabilities: bool) -> None:
    for name, value in (("k", k), ("shortlist", shortlist)):
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} must be a whole number of 1 or more; got {value!r}")
    if min_probability is not None and not has_probabilities:
        raise GalleryError("this gallery has no probabilities yet; run calibrate first")
