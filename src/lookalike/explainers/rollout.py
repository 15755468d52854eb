"""Attention rollout of a pair: maps of matching tokens, traced back through attention to the input.

Black, Stylianou, Pless, Souvenir, *Visualizing Paired Image Similarity in Transformer Networks*,
WACV 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import final

import torch
from torch import Tensor

from lookalike.errors import UnsupportedMethodError
from lookalike.explainers.base import image_map, read_whole
from lookalike.models.attention_poolings import ClsPooling
from lookalike.models.embedder import Embedder, ImageSource
from lookalike.ops.rollout import HeadFusion, roll_out, roll_out_conserving
from lookalike.types import Explanation, ImageMap, Reading, Trace


@dataclass(frozen=True)
class _Tokens:
    """One image's token shares and attention."""

    shares: Tensor  # (P + N, D) float64: each token's share of the embedding; row 0 holds the residual
    attention: tuple[Tensor, ...]  # per layer (A, P + N, P + N) float64
    grid: tuple[int, int]
    reading: Reading

    @property
    def unit(self) -> Tensor:
        return torch.nn.functional.normalize(self.shares.sum(0), dim=0)

    def values(self, other: Tensor) -> Tensor:
        """Each token's share of the cosine with another unit embedding: (P + N,)."""
        norm: Tensor = self.shares.sum(0).norm()
        return self.shares @ other / norm

    def to_map(self, values: Tensor) -> ImageMap:
        """The values of the patch tokens, without those of the prefix."""
        return image_map(self.reading, values[-self.grid[0] * self.grid[1] :], self.grid)


@final
class Rollout:
    """Method ``rollout``: the published map ``R @ map``, a heat map that does not sum to the cosine.

    With CLS pooling the shares belong to the tokens that enter the last layer, so attention is rolled
    out over the layers before it.
    """

    name = "rollout"
    promise = "the published computation; a heat map"

    def __init__(self, embedder: Embedder, *, fusion: HeadFusion = "mean", first_layer: int = 0) -> None:
        self.embedder = embedder
        self.fusion: HeadFusion = fusion
        self.first_layer = first_layer

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Explain two images; raises UnsupportedMethodError for models without global attention."""
        roll = partial(roll_out, fusion=self.fusion, first_layer=self.first_layer)
        return _explained(self.embedder, query, match, roll, method=self.name, additive=False)


@final
class ConservingRollout:
    """Method ``rollout-conserving``: ``Rᵀ @ map``, an attribution that sums to the cosine.

    Each token's share is distributed over the tokens that it attends to, so the sum is preserved; the
    residual is what ends on prefix tokens.
    """

    name = "rollout-conserving"
    promise = "sums to the similarity"

    def __init__(self, embedder: Embedder, *, fusion: HeadFusion = "mean", first_layer: int = 0) -> None:
        self.embedder = embedder
        self.fusion: HeadFusion = fusion
        self.first_layer = first_layer

    def __call__(self, query: ImageSource | Reading, match: ImageSource | Reading) -> Explanation:
        """Explain two images; raises UnsupportedMethodError for models without global attention."""
        roll = partial(roll_out_conserving, fusion=self.fusion, first_layer=self.first_layer)
        return _explained(self.embedder, query, match, roll, method=self.name, additive=True)


def _explained(
    embedder: Embedder,
    query: ImageSource | Reading,
    match: ImageSource | Reading,
    roll: Callable[[Tensor, Sequence[Tensor]], Tensor],
    *,
    method: str,
    additive: bool,
) -> Explanation:
    a, b = (_tokens(embedder, read_whole(source, embedder)) for source in (query, match))
    return Explanation(
        similarity=float(a.unit @ b.unit),
        query=a.to_map(roll(a.values(b.unit), a.attention)),
        match=b.to_map(roll(b.values(a.unit), b.attention)),
        method=method,
        additive=additive,
        model=embedder.name,
    )


@torch.inference_mode()
def _tokens(embedder: Embedder, reading: Reading) -> _Tokens:
    if embedder.scales != (1.0,):
        raise UnsupportedMethodError(
            f"rollout needs a single forward pass and {embedder.name} embeds at {len(embedder.scales)} "
            "scales; use method 'shares'"
        )
    image, _ = embedder.tensor(reading)
    trace = embedder.network.backbone.trace(image)
    shares = embedder.network.shares_of(trace, model=embedder.name, image=reading.picture.name)
    attention = _global_attention(embedder, trace)
    values = shares.values[0].double().cpu()  # (N + 1, D), the residual last
    n_prefix = trace.features.prefix.shape[1]
    tokens = torch.cat([values.new_zeros(n_prefix, values.shape[1]), values[:-1]])
    if n_prefix:
        tokens[0] = values[-1]
    return _Tokens(tokens, attention, shares.grid, reading)


def _global_attention(embedder: Embedder, trace: Trace) -> tuple[Tensor, ...]:
    """Attention (A, P + N, P + N) of every layer below the tokens that the shares belong to."""
    features = trace.features
    n_tokens = features.prefix.shape[1] + features.cells.shape[1]
    calls = [c for c in trace.attention if c.query.shape[2] == c.key.shape[2] == n_tokens]
    blocks: Sequence[object] = getattr(embedder.network.backbone.model, "blocks", ())
    if not calls:
        raise UnsupportedMethodError(
            f"rollout needs the attention of a vision transformer, and {embedder.name} has no layer that "
            "attends from every token to every other; use method 'shares'"
        )
    if len(calls) != len(blocks):
        raise UnsupportedMethodError(
            f"rollout needs attention among all {n_tokens} tokens in every layer; {embedder.name} has it in "
            f"{len(calls)} of {len(blocks)}, use method 'shares'"
        )
    if isinstance(embedder.network.pooling, ClsPooling):
        calls = calls[:-1]
    return tuple(call.weights[0].double().cpu() for call in calls)
