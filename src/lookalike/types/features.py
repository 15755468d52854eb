"""Intermediate results of networks for explanations: features, attention, and shares of an embedding."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lookalike.types.geometry import Geometry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """Features of a batch: a vector for each cell, and the prefix tokens."""

    cells: Tensor  # (B, N, C) row-major over the grid
    prefix: Tensor  # (B, P, C) prefix tokens (CLS, registers); P is 0 for convolutional networks
    grid: tuple[int, int]  # (h, w), h * w == N


@dataclass(frozen=True, eq=False, repr=False)
class Shares:
    """An embedding as a sum of contributions of cells, before the last L2 normalization."""

    values: Tensor  # (N, D) float32; values.sum(0) + residual is the embedding before L2
    residual: Tensor  # (D,) float32; what no cell accounts for (zero for additive poolings)
    grid: tuple[int, int]  # (h, w), h * w == N
    geometry: Geometry

    @property
    def total(self) -> Tensor:
        """The embedding before the last L2 normalization: (D,)."""
        return self.values.sum(0) + self.residual

    def __repr__(self) -> str:
        return f"Shares({self.grid[0]}x{self.grid[1]} cells, width {self.values.shape[1]})"


@dataclass(frozen=True, eq=False)
class AttentionCall:
    """Queries, keys and values of one attention layer, with position encodings applied."""

    query: Tensor  # (B, A, Tq, d)
    key: Tensor  # (B, A, Tk, d)
    value: Tensor  # (B, A, Tk, d)
    scale: float  # factor on the products before the softmax
    bias: Tensor | None  # added to the scaled products, broadcast over (B, A, Tq, Tk)

    @property
    def weights(self) -> Tensor:
        """Attention of every query token over the key tokens: (B, A, Tq, Tk), rows sum to one."""
        products = self.query @ self.key.transpose(-2, -1) * self.scale
        return (products if self.bias is None else products + self.bias).softmax(-1)


@dataclass(frozen=True, eq=False)
class Trace:
    """Features of a forward pass with the intermediate results that explanations need."""

    features: Features
    attention: tuple[AttentionCall, ...]  # one per layer, in order; empty for convolutional networks
    last_block_input: Tensor | None  # (B, P + N, C) tokens that enter the last transformer block
