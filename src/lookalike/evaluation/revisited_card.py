"""The protocol card: what must be known to compare a metric with another."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lookalike.evaluation.revisited import RevisitedMetrics

NOT_STATED = "unknown: not stated with the {}"
AVERAGE_PRECISION = (
    "trapezoidal, as in the official code: mean of precision before and at each positive, divided by the "
    "number of positives; junk is removed from the ranking first"
)
PRECISION = "share of positives within k, or within the rank of the last positive if that is smaller"


@dataclass(frozen=True)
class DescriptorProvenance:
    """How descriptors were made, as far as known; each field a short phrase."""

    model: str
    query_boxes: str
    resolution: str
    scales: str
    whitening: str

    @classmethod
    def unknown(cls, given: str, *, whitening: str = "") -> DescriptorProvenance:
        """For ranks, scores or descriptors that came from elsewhere."""
        unsaid = NOT_STATED.format(given)
        return cls(unsaid, unsaid, unsaid, unsaid, whitening or unsaid)


@dataclass(frozen=True)
class ProtocolCard:
    """Everything that the metrics of one evaluation depend on."""

    dataset: str
    n_queries: int
    n_images: int  # gallery without distractors
    n_distractors: int
    given: str  # "ranks", "scores", "descriptors" or "images"
    model: str
    query_boxes: str
    resolution: str
    scales: str
    whitening: str
    reranking: str
    average_precision: str
    precision_at_k: str
    ties: str
    left_out: Mapping[str, int]  # difficulty: queries without positives, not in its means
    files: Mapping[str, str]  # file: sha256
    notes: tuple[str, ...]  # added by the caller


def protocol_card(
    metrics: RevisitedMetrics,
    given: str,
    provenance: DescriptorProvenance,
    files: Mapping[str, str],
    *,
    reranking: str = "none",
    notes: tuple[str, ...] = (),
) -> ProtocolCard:
    """Make the card of metrics; ``files`` are the hashes of the files they were computed from."""
    truth = metrics.truth
    ordered = (
        "as ordered in the ranks" if given == "ranks" else "in the order of the gallery's rows, as float32"
    )
    return ProtocolCard(
        dataset=truth.name,
        n_queries=len(truth),
        n_images=truth.n_images if truth.images else metrics.n_gallery,
        n_distractors=metrics.n_gallery - truth.n_images if truth.images else 0,
        given=given,
        model=provenance.model,
        query_boxes=provenance.query_boxes,
        resolution=provenance.resolution,
        scales=provenance.scales,
        whitening=provenance.whitening,
        reranking=reranking,
        average_precision=AVERAGE_PRECISION,
        precision_at_k=PRECISION,
        ties=ordered,
        left_out={name: int((~each.is_counted).sum()) for name, each in metrics.by_difficulty.items()},
        files=files,
        notes=notes,
    )


def card_lines(card: ProtocolCard) -> list[tuple[str, str]]:
    """The card as pairs of a name and a short text, for printing."""
    left_out = ", ".join(f"{n} {name}" for name, n in card.left_out.items() if n)
    distractors = f" + {card.n_distractors:,} distractors" if card.n_distractors else ""
    lines = [
        ("dataset", f"{card.dataset}: {card.n_queries} queries, {card.n_images:,} images{distractors}"),
        ("given", card.given),
        ("model", card.model),
        ("query boxes", card.query_boxes),
        ("resolution", card.resolution),
        ("scales", card.scales),
        ("whitening", card.whitening),
        ("re-ranking", card.reranking),
        ("mAP", card.average_precision),
        ("mP@k", card.precision_at_k),
        ("ties", card.ties),
        ("left out", f"queries without positives: {left_out}" if left_out else "no query"),
    ]
    lines += [("sha256", f"{digest[:16]}… {name}") for name, digest in card.files.items()]
    return lines + [("note", note) for note in card.notes]


def file_hash(path: str | Path) -> str:
    """Hex sha256 of a file of any size."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
