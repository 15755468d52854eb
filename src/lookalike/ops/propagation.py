"""Exact propagation of shares through the layers after pooling.

Shares are the rows of a (B, M, D) tensor that sum to the vector that a layer receives: the first
``M - 1`` rows belong to the cells of the grid, the last one is the residual. Each function returns
the shares of the layer's output. A layer is treated as the linear map that it is for this input
(norms, gates and means are frozen at their values), plus a constant that is spread evenly over the
cells. The returned shares sum to the layer's output.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

ShareRows = Float[Tensor, "B M D"]


def with_residual(shares: Float[Tensor, "B N D"], residual: Float[Tensor, "B D"] | None = None) -> ShareRows:
    """Append the residual, zero unless given, to the cells' shares as the last row."""
    if residual is None:
        residual = shares.new_zeros(shares.shape[0], shares.shape[2])
    return torch.cat([shares, residual[:, None]], dim=1)


def spread(shares: ShareRows, constant: Float[Tensor, "... D"]) -> ShareRows:
    """Add a constant, (D,) or (B, 1, D), to the total, evenly over the cells, 1/N each."""
    n_cells = shares.shape[1] - 1
    return torch.cat([shares[:, :-1] + constant / n_cells, shares[:, -1:]], dim=1)


def affine(
    shares: Float[Tensor, "B M C"], weight: Float[Tensor, "D C"], bias: Float[Tensor, " D"] | None = None
) -> ShareRows:
    """Shares of ``W x + b``."""
    mapped = shares @ weight.T
    return mapped if bias is None else spread(mapped, bias)


def scale(
    shares: ShareRows, factor: Float[Tensor, "... D"], shift: Float[Tensor, " D"] | None = None
) -> ShareRows:
    """Shares of ``factor * x + shift``, by channel (BatchNorm in evaluation mode, layer scale)."""
    scaled = shares * factor
    return scaled if shift is None else spread(scaled, shift)


def layer_norm(
    shares: ShareRows,
    weight: Float[Tensor, " D"] | None = None,
    bias: Float[Tensor, " D"] | None = None,
    eps: float = 1e-5,
) -> ShareRows:
    """Shares of LayerNorm: each share less its own mean, divided by the deviation of the total."""
    total = shares.sum(1, keepdim=True)
    deviation = (total.var(-1, unbiased=False, keepdim=True) + eps).sqrt()
    centered = (shares - shares.mean(-1, keepdim=True)) / deviation
    if weight is not None:
        centered = centered * weight
    return centered if bias is None else spread(centered, bias)


def rms_norm(shares: ShareRows, weight: Float[Tensor, " D"] | None = None, eps: float = 1e-6) -> ShareRows:
    """Shares of RMSNorm: all divided by the root mean square of the total."""
    mean_square = shares.sum(1, keepdim=True).square().mean(-1, keepdim=True)
    normed = shares / (mean_square + eps).sqrt()
    return normed if weight is None else normed * weight


def l2_norm(shares: ShareRows, eps: float = 0.0) -> ShareRows:
    """Shares of ``x / (‖x‖ + eps)``; a zero vector stays zero."""
    norm: Tensor = shares.sum(1, keepdim=True).norm(dim=-1, keepdim=True) + eps
    return shares / norm.clamp(min=torch.finfo(shares.dtype).tiny)


def gate(shares: ShareRows, activation: Callable[[Tensor], Tensor]) -> ShareRows:
    """Shares of an activation f of the total z: all multiplied by ``(f(z) - f(0)) / z``, 0 where z = 0.

    ``f(0)``, zero for ReLU, GELU, SiLU and tanh, is spread evenly over the cells.
    """
    total = shares.sum(1, keepdim=True)
    at_zero = activation(torch.zeros_like(total))
    output = activation(total.clone())  # a clone: many activations work in place
    factor = torch.where(total == 0, 0.0, (output - at_zero) / total)
    return spread(shares * factor, at_zero)
