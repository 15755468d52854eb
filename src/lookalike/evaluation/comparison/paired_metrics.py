"""Metrics of both models on the same queries, and the overlap of their lists."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from lookalike.errors import DatasetError
from lookalike.evaluation import LabeledEmbeddings, Retrieved
from lookalike.evaluation.comparison.results import ListAgreement, Outcomes, PairedMetric
from lookalike.ops.agreement import jaccard_at_k, list_overlaps, rank_biased_overlap
from lookalike.ops.resampling import bootstrap_intervals, sign_flip_p_values

PERSISTENCE = 0.9
_BLOCK = 1024  # queries whose lists are compared at once


def check_same_images(first: LabeledEmbeddings, second: LabeledEmbeddings) -> None:
    """Raise DatasetError unless row i of both is the same image."""
    if len(first) != len(second):
        raise DatasetError(
            f"{first.source} has {len(first):,} images and {second.source} {len(second):,}; "
            "models are compared on the same images"
        )
    sides = [(first.labels, second.labels, "label")]
    if first.paths is not None and second.paths is not None:
        sides.append((tuple(map(str, first.paths)), tuple(map(str, second.paths)), "file"))
    for ours, theirs, what in sides:
        for row, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if a != b:
                raise DatasetError(
                    f"row {row} has the {what} {a!r} in {first.source} and {b!r} in {second.source}; "
                    "models are compared on the same images in the same order"
                )


def paired_metrics(
    first: Retrieved, second: Retrieved, *, n_resamples: int = 10_000, seed: int = 0
) -> tuple[PairedMetric, ...]:
    """Return means of both, the difference with its interval, and the p-value of no difference."""
    differences = second.values - first.values  # (Q, M)
    generator = torch.Generator().manual_seed(seed)
    intervals = bootstrap_intervals(differences, generator=generator, n_resamples=n_resamples)
    p_values = sign_flip_p_values(differences, generator=generator, n_resamples=n_resamples)
    return tuple(
        PairedMetric(name, *(float(number) for number in numbers))
        for name, *numbers in zip(
            first.metrics,
            first.values.mean(0),
            second.values.mean(0),
            differences.mean(0),
            intervals[:, 0],
            intervals[:, 1],
            p_values,
            strict=True,
        )
    )


def outcomes(first: Retrieved, second: Retrieved) -> Outcomes:
    """Count the queries whose class both, one, or none of the models finds first."""
    a, b = first.is_right()[:, 0], second.is_right()[:, 0]
    counts = (int(kind.sum()) for kind in (a & b, a & ~b, ~a & b, ~a & ~b))
    return Outcomes(*counts)


def list_agreement(first: Retrieved, second: Retrieved, ks: Sequence[int]) -> ListAgreement:
    """Return the overlap of both models' first hits, over all queries."""
    depth = first.nearest.shape[1]
    overlaps = torch.cat(
        [
            list_overlaps(a, b)
            for a, b in zip(
                torch.split(first.nearest, _BLOCK), torch.split(second.nearest, _BLOCK), strict=True
            )
        ]
    )
    return ListAgreement(
        jaccard=tuple((k, float(jaccard_at_k(overlaps, k).mean())) for k in ks if k <= depth),
        rank_biased_overlap=float(rank_biased_overlap(overlaps, PERSISTENCE).mean()),
        persistence=PERSISTENCE,
        depth=depth,
    )
