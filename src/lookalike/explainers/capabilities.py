"""Survey of a model: its grid, its pooling, and the explanation methods that fit it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image

from lookalike.errors import LookalikeError
from lookalike.explainers import EXPLAINERS, Avsl, make_explainer
from lookalike.models.embedder import Embedder

# Fewer passes than usual: a survey asks whether a method works.
_QUICK: Mapping[str, Mapping[str, int]] = {
    "integrated-gradients": {"steps": 2},
    "leave-tokens-out": {"cells": 3},
    "occlusion": {"cells": 3},
    "leave-one-out": {"cells": 3},
    "rise": {"masks": 8},
}


@dataclass(frozen=True)
class MethodAnswer:
    """Outcome of one method on a pair of generated images."""

    seconds: float
    refusal: str | None  # the reason, if the method does not fit the model
    residual: float | None  # of the query map; None for heat maps and refusals


@dataclass(frozen=True)
class Survey:
    """Sizes and supported methods of a model."""

    model: str
    input_size: tuple[int, int]  # (H, W)
    grid: tuple[int, int] | None  # (h, w); None if the model has no shares
    pooling: str
    width: int  # D
    n_parameters: int
    scales: tuple[float, ...]  # whose embeddings are merged
    whitening: str  # the learned one at the model's end, in words; empty for none
    carried_whitenings: tuple[str, ...]  # names that the checkpoint offers
    completeness_error: float | None  # |sum of shares + residual - embedding| / |embedding|, fp32
    methods: Mapping[str, MethodAnswer]


def survey(embedder: Embedder) -> Survey:
    """Run every method on two generated images; takes a few forward passes."""
    query, match = generated_pictures()
    grid, error = _grid_and_error(embedder, query)
    return Survey(
        model=embedder.name,
        input_size=embedder.preprocessing.input_size,
        grid=grid,
        pooling=getattr(embedder.network.pooling, "name", "not understood"),
        width=embedder.width,
        n_parameters=sum(p.numel() for p in embedder.network.parameters()),
        scales=embedder.scales,
        whitening=embedder.whitening,
        carried_whitenings=embedder.carried_whitenings,
        completeness_error=error,
        methods={method: _answer(embedder, method, query, match) for method in _methods(embedder)},
    )


def _methods(embedder: Embedder) -> list[str]:
    """All methods; ``avsl`` only for a model with a graph of nodes."""
    return [name for name in EXPLAINERS if name != Avsl.name or embedder.network.graph is not None]


def _grid_and_error(embedder: Embedder, image: Image.Image) -> tuple[tuple[int, int] | None, float | None]:
    try:
        shares = embedder.shares(image)
    except LookalikeError:
        return None, None
    tensor, _ = embedder.tensor(image)
    with torch.inference_mode():
        embedding = embedder.network(tensor)[0].float().cpu()
    if len(embedder.scales) > 1:  # the network's own embedding is of one scale only
        return shares.grid, None
    return shares.grid, float((shares.total - embedding).norm() / embedding.norm())


def _answer(embedder: Embedder, method: str, query: Image.Image, match: Image.Image) -> MethodAnswer:
    start = time.perf_counter()
    try:
        explanation = make_explainer(embedder, method, **_QUICK.get(method, {}))(query, match)
    except LookalikeError as error:
        return MethodAnswer(time.perf_counter() - start, str(error), None)
    residual = explanation.residual if explanation.additive else None
    return MethodAnswer(time.perf_counter() - start, None, residual)


def generated_pictures() -> tuple[Image.Image, Image.Image]:
    """Two images of colored noise, of different sizes and not square."""
    rng = np.random.default_rng(0)
    return tuple(  # type: ignore[return-value]
        Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for shape, size in (((9, 13, 3), (331, 240)), ((12, 8, 3), (250, 377)))
    )
