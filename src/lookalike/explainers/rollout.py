"""Attention rollout applied to a pair: where in the input the matching tokens took theirs from.

Black, Stylianou, Pless, Souvenir, *Visualizing Paired Image Similarity in Transformer Networks*,
WACV 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from lookalike.embedder import Embedder, ImageSource
from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.base import picture_of, to_map
from lookalike.network import PartsByPlace
from lookalike.ops.rollout import HeadFusion, roll_out, roll_out_conserving
from lookalike.poolings import ClsPooling
from lookalike.types import Explanation, Geometry


@dataclass(frozen=True)
class _Side:
    """One image's tokens, ready to be compared."""

    parts: Tensor  # (P + N, D) float64: what each token gives to the embedding; row 0 holds the residual
    attention: tuple[Tensor, ...]  # per layer (A, P + N, P + N) float64
    grid: tuple[int, int]
    geometry: Geometry

    @property
    def unit(self) -> Tensor:
        return torch.nn.functional.normalize(self.parts.sum(0), dim=0)

    def values(self, other: Tensor) -> Tensor:
        """Each token's share of the cosine with another unit embedding: (P + N,)."""
        norm: Tensor = self.parts.sum(0).norm()
        return self.parts @ other / norm


@final
class Rollout:
    """Method ``rollout``: the published map ``R @ map``. A heat map: it does not sum to the cosine.

    For CLS pooling the shares are those of the tokens that enter the last layer, so attention is
    rolled over the layers before it.
    """

    name = "rollout"
    promise = "the published computation; a heat map"

    def __init__(self, embedder: Embedder, *, fusion: HeadFusion = "mean", first_layer: int = 0) -> None:
        self.embedder = embedder
        self.fusion: HeadFusion = fusion
        self.first_layer = first_layer

    def __call__(self, query: ImageSource, match: ImageSource) -> Explanation:
        """Explain two images; raises UnsupportedMethodError for models without global attention."""
        a, b = _side(self.embedder, query), _side(self.embedder, match)
        rolled = [self._roll(side, other.unit) for side, other in ((a, b), (b, a))]
        return _explanation(self.name, False, self.embedder, (a, b), rolled, query, match)

    def _roll(self, side: _Side, other: Tensor) -> Tensor:
        return roll_out(side.values(other), side.attention, fusion=self.fusion, first_layer=self.first_layer)


@final
class ConservingRollout:
    """Method ``rollout-conserving``: ``Rᵀ @ map``, which hands each token's share on to the tokens
    it came from and keeps the sum; what ends on prefix tokens is the residual."""

    name = "rollout-conserving"
    promise = "sums to the similarity"

    def __init__(self, embedder: Embedder, *, fusion: HeadFusion = "mean", first_layer: int = 0) -> None:
        self.embedder = embedder
        self.fusion: HeadFusion = fusion
        self.first_layer = first_layer

    def __call__(self, query: ImageSource, match: ImageSource) -> Explanation:
        """Explain two images; raises UnsupportedMethodError for models without global attention."""
        a, b = _side(self.embedder, query), _side(self.embedder, match)
        rolled = [self._roll(side, other.unit) for side, other in ((a, b), (b, a))]
        return _explanation(self.name, True, self.embedder, (a, b), rolled, query, match)

    def _roll(self, side: _Side, other: Tensor) -> Tensor:
        return roll_out_conserving(
            side.values(other), side.attention, fusion=self.fusion, first_layer=self.first_layer
        )


@torch.inference_mode()
def _side(embedder: Embedder, source: ImageSource) -> _Side:
    if embedder.scales != (1.0,):
        raise UnsupportedMethodError(
            f"rollout follows one forward pass, {embedder.name} embeds at {len(embedder.scales)} scales; "
            "use method 'shares'"
        )
    image, geometry = embedder.tensor(source)
    parts = embedder.network.parts(image)
    attention = _global_attention(embedder, parts)
    values = parts.values[0].double().cpu()  # (N + 1, D), the residual last
    n_prefix = parts.trace.features.prefix.shape[1]
    tokens = torch.cat([values.new_zeros(n_prefix, values.shape[1]), values[:-1]])
    if n_prefix:
        tokens[0] = values[-1]
    return _Side(tokens, attention, parts.grid, geometry)


def _global_attention(embedder: Embedder, parts: PartsByPlace) -> tuple[Tensor, ...]:
    """Attention of every layer over all tokens, for the layers that the shares have not passed."""
    features = parts.trace.features
    n_tokens = features.prefix.shape[1] + features.places.shape[1]
    calls = [c for c in parts.trace.attention if c.query.shape[2] == c.key.shape[2] == n_tokens]
    blocks: Sequence[object] = getattr(embedder.network.backbone.model, "blocks", ())
    if not calls:
        raise UnsupportedMethodError(
            f"rollout needs the attention of a vision transformer, and {embedder.name} has none among all "
            f"{n_tokens} places; use method 'shares'"
        )
    if len(calls) != len(blocks):
        raise UnsupportedMethodError(
            f"rollout needs attention among all {n_tokens} tokens in every layer; {embedder.name} has it in "
            f"{len(calls)} of {len(blocks)}, use method 'shares'"
        )
    if isinstance(embedder.network.pooling, ClsPooling):
        calls = calls[:-1]
    return tuple(call.weights[0].double().cpu() for call in calls)


def _explanation(
    method: str,
    additive: bool,
    embedder: Embedder,
    sides: tuple[_Side, _Side],
    rolled: Sequence[Tensor],
    query: ImageSource,
    match: ImageSource,
) -> Explanation:
    a, b = sides
    query_map, match_map = (
        to_map(values[-side.grid[0] * side.grid[1] :], side.grid)
        for values, side in zip(rolled, sides, strict=True)
    )
    return Explanation(
        similarity=float(a.unit @ b.unit),
        query_map=query_map,
        match_map=match_map,
        method=method,
        additive=additive,
        model=embedder.name,
        query=picture_of(query),
        match=picture_of(match),
        query_geometry=a.geometry,
        match_geometry=b.geometry,
    )
