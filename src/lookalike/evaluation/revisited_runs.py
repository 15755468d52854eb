"""The revisited protocol applied to files of ranks, scores or descriptors, or to images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lookalike.datasets.arrays import read_vectors
from lookalike.datasets.revisited import RevisitedTruth
from lookalike.errors import DatasetError, replacing
from lookalike.evaluation.embedding_parts import RayEngine
from lookalike.evaluation.plain import record_to_dict
from lookalike.evaluation.revisited import RevisitedMetrics, metrics_of_ranks, metrics_of_scores
from lookalike.evaluation.revisited_card import DescriptorProvenance, ProtocolCard, file_hash, protocol_card
from lookalike.evaluation.revisited_images import (
    describe_gallery,
    describe_queries,
    provenance_of,
    shares_of_images,
)
from lookalike.evaluation.vector_blocks import ROWS, VectorBlocks, open_vectors
from lookalike.models.budgets import check_archive
from lookalike.models.embedder import Embedder
from lookalike.models.whitening import whitening
from lookalike.ops.similarity import unit_rows
from lookalike.rerankers import Reranker, first_stage, full_ranks, make_reranker, needs_shares, options_of
from lookalike.rerankers.cells import SharesOf
from lookalike.types import ProgressCallback, tracked

N_BEST = 100  # results of each query that are kept for plots


@dataclass(frozen=True)
class RevisitedRun:
    """Metrics of a ranking, those of the ranking before it, and the protocol card."""

    metrics: RevisitedMetrics
    before: RevisitedMetrics | None  # of the first ranking, if there are two
    card: ProtocolCard

    def to_dict(self) -> dict[str, Any]:
        """Return the metrics by difficulty, those of ``before`` and the protocol card, in JSON types."""
        before = {} if self.before is None else {"before": self.before.to_dict()}
        return {**self.metrics.to_dict(), **before, "protocol": record_to_dict(self.card)}


@dataclass(frozen=True)
class DescriptorSettings:
    """Whitening, distractors and re-ranking of descriptors."""

    whiten: Path | None = None  # file of features that a PCA whitening is learned on
    whiten_width: int | None = None  # directions to keep; by default all that the features span
    distractors: tuple[Path, ...] = ()  # files of descriptors that are ranked too and match no query
    rerank: str | None = None  # a re-ranker's name
    k: int = 1024  # length of the list that is re-ranked
    checkpoint: Path | None = None  # of the re-ranker csa, instead of its bundled network
    options: Mapping[str, Any] = field(default_factory=dict)  # of the re-ranker


def run_on_ranks(
    truth: RevisitedTruth,
    ranks: Path,
    *,
    before: Path | None = None,
    n_distractors: int = 0,
    notes: Sequence[str] = (),
) -> RevisitedRun:
    """Evaluate a file of ranks (G, Q), and one that it is compared with. Raises DatasetError."""
    paths = [ranks] if before is None else [ranks, before]
    judged = [
        metrics_of_ranks(truth, read_ranks(path), n_distractors=n_distractors, n_best=N_BEST)
        for path in paths
    ]
    provenance = DescriptorProvenance.unknown("ranks")
    card = protocol_card(
        judged[0], "ranks", provenance, _hashes(truth, paths), reranking=provenance.model, notes=tuple(notes)
    )
    return RevisitedRun(judged[0], judged[1] if before else None, card)


def run_on_scores(truth: RevisitedTruth, scores: Path, *, notes: Sequence[str] = ()) -> RevisitedRun:
    """Evaluate a file of scores (Q, G), higher is better, one row per query. Raises LookalikeError."""
    blocks = torch.split(read_vectors(scores), ROWS, dim=1)
    metrics = metrics_of_scores(truth, lambda: blocks, n_best=N_BEST)
    files = _hashes(truth, [scores])
    card = protocol_card(metrics, "scores", DescriptorProvenance.unknown("scores"), files, notes=tuple(notes))
    return RevisitedRun(metrics, None, card)


def run_on_descriptors(
    truth: RevisitedTruth,
    queries: Path,
    gallery: Path,
    settings: DescriptorSettings,
    *,
    notes: Sequence[str] = (),
    progress: ProgressCallback | None = None,
) -> RevisitedRun:
    """Evaluate the cosines of two files of descriptors (Q, D) and (G, D). Raises LookalikeError.

    Of a .pkl in CSA's layout, ``query`` and ``db`` are read.
    """
    provenance = DescriptorProvenance.unknown("descriptors", whitening="none here")
    origin = _Origin("descriptors", provenance, _hashes(truth, [queries, gallery]), tuple(notes))
    sides = open_vectors(queries, "query"), open_vectors(gallery)
    return _run(truth, *sides, settings, origin, progress)


def run_on_images(
    truth: RevisitedTruth,
    folder: Path,
    embedder: Embedder,
    settings: DescriptorSettings,
    *,
    crop: bool = True,
    keep: Path | None = None,
    notes: Sequence[str] = (),
    ray: RayEngine | None = None,
    progress: ProgressCallback | None = None,
) -> RevisitedRun:
    """Embed the benchmark's images and evaluate that; ``keep`` is a folder for the descriptors.

    ``ray`` is a cluster that embeds the gallery; the queries are embedded here.
    """
    queries = describe_queries(truth, folder, embedder, crop=crop, progress=progress)
    gallery = describe_gallery(truth, folder, embedder, ray=ray, progress=progress)
    if keep is not None:
        save_descriptors(keep, queries=queries, gallery=gallery)
    sides = VectorBlocks("queries", queries), VectorBlocks("gallery", gallery)
    origin = _Origin("images", provenance_of(embedder, crop=crop), _hashes(truth, []), tuple(notes))
    shares = {}
    if needs_shares(settings.rerank or ""):
        shares = shares_of_images(truth, folder, embedder, crop=crop)
    return _run(truth, *sides, settings, origin, progress, shares)


def save_descriptors(folder: Path, **sides: Tensor) -> None:
    """Write each side as ``NAME.npy``. Raises DatasetError if that is not possible."""
    for name, rows in sides.items():
        with replacing(folder / f"{name}.npy", DatasetError, make_folder=True) as file:
            np.save(file, rows.numpy())


def read_ranks(path: str | Path) -> Tensor:
    """Read ``ranks`` (G, Q) int from an .npz as ``lookalike rerank`` writes it, or from an .npy.

    Raises DatasetError for a file that can't be read or holds no such integers.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            check_archive(path)
            loaded = np.load(file, allow_pickle=False)
            held = [""] if isinstance(loaded, np.ndarray) else list(loaded.files)
            ranks = loaded if isinstance(loaded, np.ndarray) else loaded["ranks"] if "ranks" in held else None
    except OSError as error:
        raise DatasetError(f"{path} can't be read: {error.strerror}; check the path") from error
    except Exception as error:  # a file from outside can make the zip reader fail in any way
        raise DatasetError(f"{path} is no .npz or .npy of ranks: {error}") from error
    if ranks is None:
        raise DatasetError(
            f"{path} holds no array 'ranks' (gallery, queries) but {', '.join(held) or 'nothing'}; "
            "this protocol needs whole rankings, not shortlists"
        )
    if ranks.dtype.kind not in "iu" or ranks.ndim != 2:
        raise DatasetError(
            f"{path}: ranks should be integers of shape (gallery, queries), got {ranks.dtype} {ranks.shape}"
        )
    native = np.ascontiguousarray(ranks) if ranks.dtype in (np.int32, np.int64) else ranks.astype(np.int64)
    return torch.from_numpy(native)


@dataclass(frozen=True)
class _Origin:
    """Origin of descriptors, for the card."""

    given: str
    provenance: DescriptorProvenance
    files: dict[str, str]
    notes: tuple[str, ...]


def _run(
    truth: RevisitedTruth,
    queries: VectorBlocks,
    gallery: VectorBlocks,
    settings: DescriptorSettings,
    origin: _Origin,
    progress: ProgressCallback | None,
    shares: Mapping[str, SharesOf] | None = None,
) -> RevisitedRun:
    reranker = _reranker(settings, shares or {})
    distractors = [open_vectors(path) for path in settings.distractors]
    learned_on = [open_vectors(settings.whiten)] if settings.whiten else []
    _check_widths(queries, gallery, *distractors, *learned_on)
    prepare, provenance = _preparation(learned_on, settings.whiten_width, origin.provenance)
    asked = prepare(queries.whole())
    metrics = metrics_of_scores(
        truth,
        lambda: _scores(asked, [gallery], prepare, None),
        _scores(asked, distractors, prepare, progress),
        n_best=N_BEST,
    )
    before, reranking = None, "none"
    if reranker is not None:
        everything = torch.cat(
            [prepare(block) for side in (gallery, *distractors) for block in side.blocks()]
        )
        before, reranking = metrics, _reranking_words(settings, reranker, len(everything))
        metrics = _reranked(truth, asked, everything, reranker, settings.k, len(everything) - len(gallery))
    learned_from = filter(None, [settings.whiten, settings.checkpoint])
    files = origin.files | _named_hashes([*settings.distractors, *learned_from])
    card = protocol_card(metrics, origin.given, provenance, files, reranking=reranking, notes=origin.notes)
    return RevisitedRun(metrics, before, card)


def _scores(
    queries: Tensor,
    galleries: Sequence[VectorBlocks],
    prepare: Callable[[Tensor], Tensor],
    progress: ProgressCallback | None,
) -> Iterator[Tensor]:
    """Cosines (Q, B), block after block."""
    blocks = (block for gallery in galleries for block in gallery.blocks())
    count = sum(-(-len(gallery) // ROWS) for gallery in galleries)
    for block in tracked(blocks, "distractors", count, progress if count else None):
        yield queries @ prepare(block).T


def _reranker(settings: DescriptorSettings, shares: Mapping[str, SharesOf]) -> Reranker | None:
    options: dict[str, Any] = dict(settings.options)
    if settings.checkpoint is not None:
        options["checkpoint"] = str(settings.checkpoint)
    if settings.rerank is not None:
        if shares and settings.distractors:
            raise ValueError(
                f"re-ranker {settings.rerank} reads the images, and distractors are vectors; leave the "
                "distractors out, or choose a re-ranker that needs embeddings only"
            )
        return make_reranker(settings.rerank, **options, **shares)
    if options:
        raise ValueError(f"{', '.join(options)}: an option of a re-ranker; name the re-ranker too")
    return None


def _reranking_words(settings: DescriptorSettings, reranker: Reranker, n_gallery: int) -> str:
    """The re-ranking as the card says it, with the options that were not given too."""
    options = options_of(reranker)
    options.pop("n_explained", None)  # moves no item
    options |= {
        name: value
        for name, value in settings.options.items()
        if name not in {known.split()[-1] for known in options}
    }
    if settings.checkpoint is not None:
        options = {"checkpoint": settings.checkpoint} | options
    described = ", ".join(f"{name} {value}" for name, value in options.items())
    length = min(settings.k, n_gallery)
    n = min(length, options.get("n_first", length))
    lists = f" of {length}" if n < length else ""
    return f"{settings.rerank} ({described}) of the first {n}{lists}"


def _reranked(
    truth: RevisitedTruth, queries: Tensor, gallery: Tensor, reranker: Reranker, k: int, n_distractors: int
) -> RevisitedMetrics:
    """Metrics after re-ranking; the last rows of the gallery are the distractors."""
    first = first_stage(queries, gallery, k=k)
    ranks = full_ranks(first, reranker(first))
    return metrics_of_ranks(truth, ranks, n_distractors=n_distractors, n_best=N_BEST)


def _preparation(
    learned_on: Sequence[VectorBlocks], width: int | None, provenance: DescriptorProvenance
) -> tuple[Callable[[Tensor], Tensor], DescriptorProvenance]:
    """The function applied to rows of descriptors, and the provenance that describes it."""
    if not learned_on:
        return unit_rows, provenance
    features = learned_on[0]
    layer = whitening(unit_rows(features.whole()), width)

    def whitened(rows: Tensor) -> Tensor:
        with torch.no_grad():
            return unit_rows(layer(unit_rows(rows)))

    words = f"PCA learned on {features.name} (unit rows), {layer.out_features} directions kept, then L2"
    if provenance.whitening.startswith("learned"):
        words = f"{provenance.whitening}; then {words}"
    return whitened, replace(provenance, whitening=words)


def _check_widths(queries: VectorBlocks, *others: VectorBlocks) -> None:
    for other in others:
        if other.width != queries.width:
            raise DatasetError(
                f"{queries.name} has width {queries.width} and {other.name} {other.width}; all should come "
                "from the same model"
            )


def _hashes(truth: RevisitedTruth, paths: Sequence[Path]) -> dict[str, str]:
    return {f"ground truth {truth.name}": truth.sha256} | _named_hashes(paths)


def _named_hashes(paths: Sequence[Path]) -> dict[str, str]:
    return {str(path): file_hash(path) for path in paths}
