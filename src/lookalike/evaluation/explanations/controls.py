"""Maps that know nothing, or not the match: what every method must beat."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.evaluation.explanations.subjects import Subject
from lookalike.models.embedder import Embedder
from lookalike.types import Explanation, Features, FloatArray, ImageMap, Reading

PairExplainer: TypeAlias = Callable[[Reading, Reading], Explanation]

_CENTER_SPREAD = 0.25  # standard deviation of the center prior, in sides of the image


def random_maps(subject: Subject, *, seed: int = 0) -> PairExplainer:
    """Uniform numbers in [0, 1), drawn anew for each pair and side, the same again for the same pair."""

    def explain(query: Reading, match: Reading) -> Explanation:
        grids = [subject.grid(_size(reading)) for reading in (query, match)]
        draws = random_numbers(query, match, seed)
        maps = [draws.random(grid, dtype=np.float32) for grid in grids]
        return heat_maps(subject, (query, match), (maps[0], maps[1]), "random")

    return explain


def random_numbers(query: Reading, match: Reading, seed: int) -> np.random.Generator:
    """Random numbers that a pair of images always gets."""
    return np.random.default_rng([seed, zlib.crc32(f"{query.picture.name}|{match.picture.name}".encode())])


def center_maps(subject: Subject) -> PairExplainer:
    """A Gaussian around the center, with a quarter of each side as its standard deviation."""

    def explain(query: Reading, match: Reading) -> Explanation:
        maps = [_gaussian(subject.grid(_size(reading))) for reading in (query, match)]
        return heat_maps(subject, (query, match), (maps[0], maps[1]), "center")

    return explain


def feature_norms(subject: Subject) -> PairExplainer:
    """The length of each cell's feature in the last layer: a map that ignores the other image.

    Raises UnsupportedMethodError for a model without such features.
    """

    def explain(query: Reading, match: Reading) -> Explanation:
        maps = []
        for reading in (query, match):
            features = last_features(subject, reading, "feature-norm")
            norms = features.cells[0].norm(dim=1).reshape(features.grid)
            maps.append(np.asarray(norms.cpu().numpy(), np.float32))
        return heat_maps(subject, (query, match), (maps[0], maps[1]), "feature-norm")

    return explain


@torch.inference_mode()
def last_features(subject: Subject, reading: Reading, purpose: str) -> Features:
    """Features of the last layer. Raises UnsupportedMethodError for a black box."""
    if not isinstance(subject.model, Embedder):
        raise UnsupportedMethodError(f"{purpose} needs the layers of a model and {subject.name} only embeds")
    tensor, _ = subject.model.tensor(reading)
    features: Features = subject.model.network.backbone(tensor)
    return features


def heat_maps(
    subject: Subject, readings: tuple[Reading, Reading], maps: tuple[FloatArray, FloatArray], method: str
) -> Explanation:
    """Two maps over the whole of two seen images as an explanation that promises no sum."""
    units: Tensor = subject.units([reading.pixels for reading in readings])
    query, match = (
        ImageMap(reading.picture, reading.geometry, values)
        for reading, values in zip(readings, maps, strict=True)
    )
    return Explanation(float(units[0] @ units[1]), query, match, method, additive=False, model=subject.name)


def _gaussian(grid: tuple[int, int]) -> FloatArray:
    rows, columns = (np.exp(-((((np.arange(n) + 0.5) / n - 0.5) / _CENTER_SPREAD) ** 2) / 2) for n in grid)
    return np.asarray(np.outer(rows, columns), np.float32)


def _size(reading: Reading) -> tuple[int, int]:
    return reading.pixels.shape[0], reading.pixels.shape[1]
