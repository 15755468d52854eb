"""Embedders that end with a whitening learned on images, after the merging of their scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from lookalike.images import ImageSource
from lookalike.models.embedder import Embedder
from lookalike.models.whitening import (
    LearnedWhitening,
    discriminative_whitening,
    principal_whitening,
    with_whitening,
)
from lookalike.types import ProgressCallback


def whitened_by_pairs(
    embedder: Embedder,
    images: Sequence[ImageSource],
    queries: Sequence[int],
    positives: Sequence[int],
    *,
    width: int | None = None,
    learned_on: str = "pairs",
    progress: ProgressCallback | None = None,
) -> Embedder:
    """A new embedder that ends with a whitening learned from pairs of images of one thing.

    ``queries[i]`` and ``positives[i]`` are positions in ``images``; the first ``width`` directions are kept,
    or all; ``learned_on`` names the set. See ``models.whitening.discriminative_whitening``. Raises
    ValueError as that does, for a width that is too large, and for an embedder that is whitened already.
    """
    vectors = embedder.embed(images, progress=progress)
    learned = discriminative_whitening(vectors, queries, positives).narrowed(width)
    return _ending_with(embedder, learned, learned_on)


def whitened_by_components(
    embedder: Embedder,
    images: Sequence[ImageSource],
    *,
    width: int | None = None,
    learned_on: str = "images",
    progress: ProgressCallback | None = None,
) -> Embedder:
    """A new embedder that ends with a PCA whitening learned on images, and L2.

    All directions that they span are kept, or the first ``width``. Raises ValueError as
    ``models.whitening.principal_whitening``, and for an embedder that is whitened already.
    """
    learned = principal_whitening(embedder.embed(images, progress=progress), width)
    return _ending_with(embedder, learned, learned_on)


def at_scales(embedder: Embedder, scales: Sequence[float]) -> Embedder:
    """The embedder on other factors of the input size, whose embeddings are merged; shares weights.

    Raises ValueError for several scales of a network that takes one size only, and for an embedder whose
    learned whitening is one of embeddings at its own scales.
    """
    if not scales or (len(scales) > 1 and not embedder.network.backbone.is_convolutional):
        raise ValueError(f"{embedder.name} takes inputs of one size only, so it has no other scales")
    if embedder.whitening:
        raise ValueError(f"{embedder.name} has a whitening {embedder.whitening}, so its scales can't change")
    model = replace(embedder.as_loaded(), scales=tuple(scales))
    return Embedder.of(model, device=embedder.device, precision=embedder.precision)


def _ending_with(embedder: Embedder, learned: LearnedWhitening, learned_on: str) -> Embedder:
    model = with_whitening(embedder.as_loaded(), learned, learned_on)
    model = replace(model, name=f"{embedder.name}-whitened")
    return Embedder.of(model, device=embedder.device, precision=embedder.precision)
