"""Faithfulness of maps: the effect of hiding cells of the query in the order of a map.

It is the area between two curves of the cosine, with the least and with the most important cells hidden
first, as in Samek et al., *Evaluating the visualization of what a deep neural network has
learned*, TNNLS 2017, with the similarity in place of a class score.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from lookalike import images
from lookalike.evaluation.comparison.results import MapFaithfulness
from lookalike.evaluation.embedding_parts import AnyEmbedder, embed_pixels
from lookalike.evaluation.explanations.hiding import Pixels, filling, hidden
from lookalike.ops.resampling import bootstrap_intervals
from lookalike.types import Explanation, FloatArray

_STEPS = 8  # parts of the image, hidden one after the other


def faithfulness(
    embedder: AnyEmbedder,
    explanations: Sequence[Explanation],
    pairs: Sequence[tuple[Path, Path]],
    *,
    model: str,
    seed: int = 0,
) -> MapFaithfulness:
    """Measure how well the query maps order cells by importance, over pairs.

    ``pairs`` are the images (query, match) that were explained. The gain is the area between the two
    curves, in units of the cosine: 0 for a random order, at most the drop when everything is hidden.
    """
    measured = [
        _of_pair(embedder, explanation, *pair) for explanation, pair in zip(explanations, pairs, strict=True)
    ]
    areas, drops = torch.tensor(measured, dtype=torch.float64).T
    generator = torch.Generator().manual_seed(seed)
    low, high = bootstrap_intervals(areas[:, None], generator=generator)[0]
    gain, drop = float(areas.mean()), float(drops.mean())
    return MapFaithfulness(model, explanations[0].method, gain, float(low), float(high), drop)


def hidden_series(pixels: Pixels, order: Sequence[int], grid: tuple[int, int], steps: int) -> list[Pixels]:
    """Return the image (H, W, 3) uint8 with more and more cells of a grid (h, w) in its mean color.

    ``order`` lists the cells, numbered row by row, as they are hidden; after the last step all are.
    """
    position = torch.empty(len(order), dtype=torch.long)
    position[torch.as_tensor(order)] = torch.arange(len(order))
    is_hidden = position[None] < torch.arange(1, steps + 1)[:, None] * len(order) / steps
    return hidden(pixels, filling(pixels, "mean", pixels), is_hidden, grid)


def _of_pair(
    embedder: AnyEmbedder, explanation: Explanation, query: Path, match: Path
) -> tuple[float, float]:
    """Area between the two curves, and the drop of the cosine when everything is hidden."""
    target = embedder.embed([match])[0]
    pixels, grid = _seen(embedder, query), _grid(explanation.query_map)
    most_first = np.argsort(-explanation.query_map, axis=None, kind="stable").tolist()
    series = [
        pixels,
        *hidden_series(pixels, most_first, grid, _STEPS),
        *hidden_series(pixels, most_first[::-1], grid, _STEPS),
    ]
    cosines = embed_pixels(embedder, series) @ target  # (1 + 2 S,)
    whole, most, least = cosines[:1], cosines[1 : 1 + _STEPS], cosines[1 + _STEPS :]
    curves = torch.stack([torch.cat([whole, least]), torch.cat([whole, most])])
    areas = torch.trapezoid(curves, dx=1 / _STEPS, dim=1)
    return float(areas[0] - areas[1]), float(whole[0] - most[-1])


def _grid(values: FloatArray) -> tuple[int, int]:
    return values.shape[0], values.shape[1]


def _seen(embedder: AnyEmbedder, source: Path) -> Pixels:
    return images.read(source, embedder.preprocessing).pixels
